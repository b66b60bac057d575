/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between Linux 6.1 and 6.12, in the words of the later one. */
#ifndef KERNELSTACKS_VERSIONS_H
#define KERNELSTACKS_VERSIONS_H

#include <linux/memcontrol.h>
#include <linux/mmzone.h>
#include <linux/shrinker.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)

/* What __schedule() takes. */
typedef int schedule_mode;

/* The functions that allocate pages, and that free an area of vmalloc in a context that may sleep. */
#define PAGE_ALLOCATION "__alloc_pages_noprof"
#define AREA_FREE "vfree"

static inline int kernelstacks_register_shrinker(const struct shrinker *model, const char *name)
{
	struct shrinker *shrinker = shrinker_alloc(0, "%s", name);

	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = model->count_objects;
	shrinker->scan_objects = model->scan_objects;
	shrinker->batch = model->batch;
	shrinker_register(shrinker);
	return 0;
}

#else

typedef unsigned int schedule_mode;

#define PAGE_ALLOCATION "__alloc_pages"
#define AREA_FREE "__vunmap"
#define NR_PAGE_ORDERS MAX_ORDER
#define memcg_kmem_online memcg_kmem_enabled

static inline int kernelstacks_register_shrinker(struct shrinker *shrinker, const char *name)
{
	shrinker->seeks = DEFAULT_SEEKS;
	return register_shrinker(shrinker, "%s", name);
}

#endif

#endif
