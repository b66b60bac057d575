// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that a stack has got since fork, lent and then touched or mapped on a fault: they are the thread's own from then on,
 * in the entries of its stack, in KernelStack, and in its memory cgroup.
 */

#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/task_work.h>
#include <linux/vmstat.h>

#include "growth.h"
#include "lend.h"
#include "pool.h"
#include "versions.h"

static void count_in_node(struct page *page, int sign)
{
	mod_node_page_state(page_pgdat(page), NR_KERNEL_STACK_KB, sign * (long)(PAGE_SIZE / 1024));
}

#ifdef CONFIG_MEMCG
/*
 * In the task, before it returns to user space or ends: what it has kept becomes like what fork got. It is in use, so it is
 * charged beyond the limit, too.
 */
static void charge_kept(struct callback_head *work)
{
	struct slot_record *record = container_of(work, struct slot_record, charge);
	struct page *page;
	unsigned int i;

	/* No page of this stack goes back meanwhile (shrink.c). */
	WRITE_ONCE(record->is_charging, true);
	/* Before accounted_from(): what is kept from here on makes the charge due again. */
	WRITE_ONCE(record->is_charge_due, false);
	barrier();
	for (i = accounted_from(record); i < STACK_PAGES; i++) {
		kernelstacks_test_charging();
		page = page_of_frame(READ_ONCE(record->entries[i]));
		if (record->pages[i] || memcg_kmem_charge_page(page, GFP_KERNEL | __GFP_NOFAIL, 0))
			continue;
		count_in_node(page, -1);
		mod_lruvec_page_state(page, NR_KERNEL_STACK_KB, PAGE_SIZE / 1024);
		record->pages[i] = page;
	}
	WRITE_ONCE(record->is_charging, false);
}

/* The task is being switched from; the run queue is locked, under which nothing can be charged. */
static void charge_later(struct task_struct *task, struct slot_record *record)
{
	if (!memcg_kmem_online() || record->is_charge_due)
		return;
	init_task_work(&record->charge, charge_kept);
	/* Refused once the task is about to end. */
	record->is_charge_due = !task_work_add(task, &record->charge, TWA_RESUME);
}
#else
static void charge_later(struct task_struct *task, struct slot_record *record) {}
#endif

/* Counts the pages from `first` up that are in no account yet. Under the run queue's lock. */
static void count_from(const struct slot_record *record, unsigned int first)
{
	unsigned int i;

	for (i = first; i < accounted_from(record); i++)
		count_in_node(page_of_frame(record->entries[i]), 1);
	raw_cpu_ptr(&kernelstacks_cpu)->kept += accounted_from(record) - first;
}

void kernelstacks_keep_grown(struct task_struct *task)
{
	struct slot_record *record = record_of_task(task);
	/* This function's own stores may fault, and lower it further. */
	unsigned int first = READ_ONCE(record->missing);

	count_from(record, first);
	kernelstacks_set_accounted(record, first);
	charge_later(task, record);
}

/* Of pages that were lent, those from `first` up are the thread's from now on. Under the run queue's lock. */
void kernelstacks_keep(struct task_struct *task, u64 *frames, unsigned int first)
{
	struct slot_record *record = record_of_task(task);
	struct frame_set *set = container_of(frames, struct frame_set, frame[0]);
	unsigned int i;

	for (i = first; i < record->missing; i++)
		/* Fails where a CPU has set the flag. */
		cmpxchg_relaxed(&record->entries[i], frames[i], frames[i] | PTE_AF);
	/* What a thread that lacks less has left of the set moves down. */
	for (i = record->missing; i < set->count; i++)
		frames[first + i - record->missing] = frames[i];
	set->count -= record->missing - first;
	count_from(record, first);
	kernelstacks_set_missing(record, first);
	charge_later(task, record);
}

void kernelstacks_forget_pages(struct slot_record *record)
{
	unsigned int i, kept = 0;
	u64 entry;

	WARN_ON_ONCE(record->lent || record->is_charge_due || accounted_from(record) != record->missing);
	for (i = record->missing; i < STACK_PAGES; i++) {
		entry = READ_ONCE(record->entries[i]);
		if (!(entry & PTE_GROWN))
			continue;
		kept++;
		if (!record->pages[i])
			count_in_node(page_of_frame(entry), -1);
	}
	if (kept)
		this_cpu_add(kernelstacks_cpu.ended, kept);
	kernelstacks_forget_rest(record);
}

void kernelstacks_unaccount(struct page *page, bool is_accounted)
{
	if (!is_accounted) {
		count_in_node(page, -1);
		return;
	}
	mod_lruvec_page_state(page, NR_KERNEL_STACK_KB, -(long)(PAGE_SIZE / 1024));
	memcg_kmem_uncharge_page(page, 0);
}

void kernelstacks_check_untouched(const u64 *frames, unsigned int count)
{
	while (count--)
		if (memchr_inv(page_address(page_of_frame(frames[count])), 0, PAGE_SIZE))
			panic("kernelstacks: a page was written, and its entry is untouched");
}

/* Conditions of lending: an entry that is lent was empty, and a page that is the thread's has its access flag. */
void kernelstacks_check_lendable(const struct slot_record *record)
{
	unsigned int i;
	u64 entry;

	for (i = 0; i < STACK_PAGES; i++) {
		entry = READ_ONCE(record->entries[i]);
		if (i < record->missing ? entry : !(entry & PTE_AF))
			panic("kernelstacks: entry %u of a stack that lacks %u pages is %llx", i, record->missing, entry);
	}
}
