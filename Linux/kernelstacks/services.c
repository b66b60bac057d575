// SPDX-License-Identifier: GPL-2.0
/* What the allocator in Swift is supplied with (LinuxStacks/LinuxServices.h) besides addresses: page frames, CPUs, locks. */

#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/topology.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "LinuxStacks/LinuxServices.h"

/* Page frames */

notrace uintptr_t swift_stacks_alloc_pages(unsigned int order, int node, bool zero, bool wait)
{
	gfp_t flags = (wait ? GFP_KERNEL : GFP_NOWAIT | __GFP_NOWARN) | (zero ? __GFP_ZERO : 0);
	struct page *page;

	/* The page allocator's locks sleep there. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT) && !wait)
		return 0;
	page = alloc_pages_node(node, flags, order);
	return page ? page_to_pfn(page) : 0;
}

#ifdef CONFIG_PREEMPT_RT
/* Pages, each a block of its own, that were freed where the page allocator's locks may not be waited for: linked in themselves. */
static LLIST_HEAD(freed_pages);

static void free_pages_later(struct work_struct *work)
{
	struct llist_node *page, *next;

	llist_for_each_safe(page, next, llist_del_all(&freed_pages))
		free_page((unsigned long)page);
}
static DECLARE_WORK(page_freeing, free_pages_later);

static bool free_later(struct page *page, unsigned int order)
{
	if (preemptible() || order)
		return false;
	if (llist_add(page_address(page), &freed_pages))
		schedule_work(&page_freeing);
	return true;
}
#else
static bool free_later(struct page *page, unsigned int order) { return false; }
#endif

notrace void swift_stacks_free_pages(uintptr_t frame, unsigned int order)
{
	struct page *page = pfn_to_page(frame);

	if (!free_later(page, order))
		__free_pages(page, order);
}

int swift_stacks_page_to_nid(uintptr_t frame)
{
	return page_to_nid(pfn_to_page(frame));
}

size_t swift_stacks_total_pages(void)
{
	return totalram_pages();
}

size_t swift_stacks_free_page_count(void)
{
	return global_zone_page_state(NR_FREE_PAGES);
}

unsigned int swift_stacks_node_count(void)
{
	return nr_node_ids;
}

notrace void swift_stacks_clear(uintptr_t address, size_t size)
{
	memset((void *)address, 0, size);
}

/* CPUs */

notrace unsigned int swift_stacks_cpu(void)
{
	return raw_smp_processor_id();
}

unsigned int swift_stacks_cpu_count(void)
{
	return nr_cpu_ids;
}

int swift_stacks_cpu_node(void)
{
	return numa_node_id();
}

notrace uintptr_t swift_stacks_irq_save(void)
{
	unsigned long flags;

	local_irq_save(flags);
	return flags;
}

notrace void swift_stacks_irq_restore(uintptr_t flags)
{
	local_irq_restore(flags);
}

notrace uintptr_t swift_stacks_lock(uint64_t *lock)
{
	unsigned long flags;

	local_irq_save(flags);
	arch_spin_lock((arch_spinlock_t *)lock);
	return flags;
}

notrace void swift_stacks_unlock(uint64_t *lock, uintptr_t flags)
{
	arch_spin_unlock((arch_spinlock_t *)lock);
	local_irq_restore(flags);
}
