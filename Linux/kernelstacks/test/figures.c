// SPDX-License-Identifier: GPL-2.0
/* What the kernel's own accounts say, and how they are made comparable. */

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/rcupdate.h>
#include <linux/sched/stat.h>
#include <linux/smp.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "../../../mm/slab.h"
#include "../stacks.h"
#include "../versions.h"
#include "test.h"

/* A node counter, with the shares that CPUs have not yet added to it. */
static long node_count(enum node_stat_item item)
{
	long count = global_node_page_state_pages(item);
	struct pglist_data *node;
	int cpu;

	for_each_online_pgdat(node)
		for_each_possible_cpu(cpu)
			count += per_cpu_ptr(node->per_cpu_nodestats, cpu)->vm_node_stat_diff[item];
	return count;
}

int kernelstacks_figures(char *result)
{
	struct zone *zone;
	unsigned long arena_pages = 0, cached_pages = 0, free = 0;
	int order, largest = -1;

	drain_all_pages(NULL);
	for_each_populated_zone(zone) {
		free += zone_page_state_snapshot(zone, NR_FREE_PAGES);
		for (order = 0; order < NR_PAGE_ORDERS; order++)
			if (zone->free_area[order].nr_free && order > largest)
				largest = order;
	}
#ifdef CONFIG_SWIFT_KERNEL_STACKS
	kernelstacks_figures_of_arena(&arena_pages, &cached_pages);
#endif
	snprintf(result, RESULT_BYTES,
		 "\"threads\":%u,\"kernelStackKiB\":%ld,\"freeBytes\":%lu,\"largestFreeBlockBytes\":%lu,"
		 "\"pageTablePages\":%ld,\"slabPages\":%ld,\"arenaPages\":%lu,\"cachedPages\":%lu",
		 /* with the idle threads of all CPUs but the first, whose stack is static */
		 nr_threads + num_possible_cpus() - 1, node_count(NR_KERNEL_STACK_KB), free * PAGE_SIZE,
		 largest < 0 ? 0 : PAGE_SIZE << largest, node_count(NR_PAGETABLE),
		 node_count(NR_SLAB_UNRECLAIMABLE_B) + node_count(NR_SLAB_RECLAIMABLE_B), arena_pages, cached_pages);
	return 0;
}

static void shrink_slabs(void)
{
	struct kmem_cache *cache;

	/* Not under slab_mutex, which a CPU that goes offline takes inside the lock that this takes. No cache of a test kernel goes. */
	list_for_each_entry(cache, &slab_caches, list)
		kmem_cache_shrink(cache);
}

int kernelstacks_drain_all(void)
{
#ifdef CONFIG_SWIFT_KERNEL_STACKS
	return schedule_on_each_cpu(kernelstacks_drain);
#else
	return 0;
#endif
}

int kernelstacks_settle(void)
{
	/* The last of a task is freed after it was waited for, by RCU, and by what RCU sets going. */
	rcu_barrier();
	msleep(50);
	rcu_barrier();
	kernelstacks_drain_all();
	vm_unmap_aliases();
	shrink_slabs();
	drain_all_pages(NULL);
	return 0;
}
