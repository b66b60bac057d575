// SPDX-License-Identifier: GPL-2.0
/* The hook through which fork gets stacks from the allocator in Swift, and frees them. */

#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/llist.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/smp.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "LinuxStacks/LinuxServices.h"
#include "arena.h"
#include "growth.h"
#include "stacks.h"

u64 kernelstacks_handle[16];
uintptr_t swift_stacks_map_offset __ro_after_init;
uint64_t swift_stacks_attributes __ro_after_init;
static bool grows __ro_after_init; /* stacks begin with one page */

/* Charged at every hand-out, cached or new; exit_task_stack_account() uncharges. */
static int charge(struct vm_struct *area)
{
	int i, error;

	/* From the top down: what is missing is at the bottom. */
	for (i = STACK_PAGES - 1; i >= 0 && area->pages[i]; i--) {
		error = memcg_kmem_charge_page(area->pages[i], GFP_KERNEL, 0);
		if (!error)
			continue;
		while (++i < STACK_PAGES)
			memcg_kmem_uncharge_page(area->pages[i], 0);
		return error;
	}
	return 0;
}

/*
 * Whether a stack has to be whole: of a thread of the kernel, or one that is forked before the first program runs, or by one
 * with a real-time policy, or where stacks do not grow. These are never parked.
 */
static bool is_whole(void)
{
	return !kernelstacks_grows() || current->flags & PF_KTHREAD || !current->mm || keeps_all_pages(current);
}

unsigned long *arch_alloc_thread_stack_node(struct task_struct *task, int node)
{
	unsigned long stack = swift_stacks_alloc(kernelstacks_handle, node);
	struct vm_struct *area;

	if (!stack)
		return NULL;
	if (grows && is_whole() && !swift_stacks_populate(kernelstacks_handle, stack)) {
		swift_stacks_free(kernelstacks_handle, stack);
		return NULL;
	}
	area = kernelstacks_describe(stack);
	if (charge(area)) {
		swift_stacks_free(kernelstacks_handle, stack);
		return NULL;
	}
	task->stack_vm_area = area;
	return (unsigned long *)stack;
}

/*
 * A stack that was freed twice may still be in use by the code that freed it wrongly, so no cache may hand it out again.
 * Each CPU looks into its own; the others do so from a worker, because a free may come from any context. Until the worker
 * runs, any number of stacks may have been freed twice: they wait in a list that runs through their records.
 */
static LLIST_HEAD(suspects);

static void quarantine_suspect(void *stack)
{
	swift_stacks_quarantine(kernelstacks_handle, (unsigned long)stack);
}

static void quarantine_everywhere(struct work_struct *work)
{
	struct slot_record *record, *next;

	llist_for_each_entry_safe(record, next, llist_del_all(&suspects), suspect) {
		/* From here on it can be put into the list again, and nothing is read of it. */
		void *stack = record->area.addr;

		atomic_set_release(&record->is_suspect, 0);
		on_each_cpu(quarantine_suspect, stack, 1);
	}
}
static DECLARE_WORK(quarantine, quarantine_everywhere);

/* Called in any context. */
static void quarantine_later(unsigned long stack)
{
	struct slot_record *record = kernelstacks_record_of(stack);

	if (!record || atomic_xchg(&record->is_suspect, 1))
		return;
	llist_add(&record->suspect, &suspects);
	schedule_work(&quarantine);
}

/* Called in any context. */
void arch_free_thread_stack(struct task_struct *task)
{
	unsigned long stack = (unsigned long)task->stack;

	if (grows && task->stack_vm_area)
		kernelstacks_forget_kept(record_of_task(task));
	task->stack_vm_area = NULL;
	if (likely(swift_stacks_free(kernelstacks_handle, stack)))
		return;
	if (!swift_stacks_quarantine(kernelstacks_handle, stack))
		quarantine_later(stack);
	WARN(1, "kernel stack 0x%lx of task %d is not one in use: freed twice, or foreign. It is leaked.\n",
	     stack, task->pid);
}

/* Called by fork_init() before the first fork. */
void __init arch_task_cache_init(void)
{
	unsigned long capacity = totalram_pages() / STACK_PAGES;
	unsigned long most = (VMALLOC_END - VMALLOC_START) / 4 / THREAD_ALIGN;

	BUILD_BUG_ON(THREAD_ALIGN != 2 * THREAD_SIZE);
	BUILD_BUG_ON(sizeof(arch_spinlock_t) > sizeof(u64));
	grows = kernelstacks_may_grow();
	swift_stacks_map_offset = PAGE_OFFSET - PHYS_OFFSET;
	swift_stacks_attributes = pte_val(pfn_pte(0, PAGE_KERNEL));
	if (swift_stacks_handle_size() > sizeof(kernelstacks_handle) ||
	    !swift_stacks_init(kernelstacks_handle, grows, THREAD_SIZE, THREAD_ALIGN / 2, clamp(capacity, 1UL, most)))
		panic("kernelstacks: the stack allocator could not be made");
}

void kernelstacks_figures_of_arena(unsigned long *pages, unsigned long *cached)
{
	*pages = kernelstacks_arena_pages() + kernelstacks_spare_pages();
	*cached = swift_stacks_cached_frames(kernelstacks_handle);
}
