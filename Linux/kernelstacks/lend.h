/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Growth by lending: while a thread runs, all pages of its stack are mapped; those that it has never touched are lent by
 * the CPU, and taken back when it is switched out.
 *
 *     prepare_arch_switch(next)        kernelstacks_lend(): each page that next's stack lacks is mapped to a frame of this
 *                                      CPU, with access flag 0
 *     next runs                        no page is missing; the CPU sets the flag in the entries of pages that next touches
 *     vtime_task_switch(prev)          kernelstacks_take_back(): each entry whose flag is still 0 becomes empty, by one
 *                                      compare-and-swap; from the lowest page that was touched up, the pages are prev's
 *     finish_arch_post_lock_switch()   kernelstacks_park(): a thread for which there were too few frames waits for them
 *
 * An entry whose flag is 0 is in no TLB, so nothing is invalidated (docs/growth.md has the conditions). The run
 * queue's lock is held and interrupts are off in the first two.
 *
 * The next thread's frames are lent before the last one's are taken back, so each CPU has two sets of them, which take
 * turns. Frame n of a set is for page n of a stack, the lowest page first. The first `count` frames of a set are there.
 *
 * A switch with too few frames sets `is_short` in the next thread's record; it then comes to kernelstacks_park() and waits in a
 * loop there, which sets `is_parked`. Its own switches come there again, with `is_parked` set, and only clear `is_short`.
 */
#ifndef KERNELSTACKS_LEND_H
#define KERNELSTACKS_LEND_H

#include <linux/sched.h>
#include <asm/barrier.h>
#include <asm/lse.h>

#include "frames.h"

void kernelstacks_keep(struct task_struct *task, u64 *frames, unsigned int first);

static __always_inline struct frame_set *other_set(struct frame_set *set)
{
	return (struct frame_set *)((unsigned long)set ^ sizeof(*set));
}

/* Interrupts are off, and the set has a frame for each page that the stack lacks. */
static __always_inline void lend_spare_set(struct slot_record *record, struct cpu_frames *cpu)
{
	struct frame_set *set = cpu->spare;
	unsigned int missing = record->missing;
	u64 *entries = record->entries;

	BUILD_BUG_ON(MOST_MISSING != 3);
	if (IS_ENABLED(CONFIG_SWIFT_KERNEL_STACKS_CHECK_LENT))
		kernelstacks_check_lendable(record);
	WRITE_ONCE(entries[0], set->frame[0]);
	if (missing > 1)
		WRITE_ONCE(entries[1], set->frame[1]);
	if (missing > 2)
		WRITE_ONCE(entries[2], set->frame[2]);
	record->lent = set->frame;
	cpu->spare = other_set(set);
	cpu->lent += missing;
	dsb(ishst);
	isb();
}

/* Before the switch to a thread: the run queue is locked, interrupts are off. */
static __always_inline void kernelstacks_lend(struct task_struct *next)
{
	struct slot_record *record = record_of_task(next);
	struct cpu_frames *cpu;

	if (!record || !record->missing)
		return;
	cpu = raw_cpu_ptr(&kernelstacks_cpu);
	if (unlikely(cpu->spare->count < record->missing) && !kernelstacks_refill(record, cpu))
		return;
	lend_spare_set(record, cpu);
}

/* Empties an entry if it still is what was lent: one atomic step, which no update by a CPU can come into. */
static __always_inline bool empty_untouched(u64 *entry, u64 frame)
{
	u64 seen = frame;

	asm volatile(__LSE_PREAMBLE "cas	%x[seen], xzr, %[entry]"
		     : [seen] "+r" (seen), [entry] "+Q" (*entry) : : "memory");
	return seen == frame;
}

/*
 * After the switch from a thread, before another CPU may run it: the run queue is locked, interrupts are off.
 * __switch_to() has waited for the thread's accesses (dsb ish).
 */
static __always_inline void kernelstacks_take_back(struct task_struct *prev)
{
	struct slot_record *record = record_of_task(prev);
	unsigned int first, missing;
	u64 *frames, *entries;
	long unused;

	if (!record || !record->lent)
		return;
	frames = record->lent;
	entries = record->entries;
	missing = record->missing;
	record->lent = NULL;
	unused = keeps_all_pages(prev) ? 0 : min_t(long, pages_below_margin(prev, record), missing);
	first = 0;
	if (unused > 0 && empty_untouched(&entries[0], frames[0])) {
		first = 1;
		if (unused > 1 && empty_untouched(&entries[1], frames[1])) {
			first = 2;
			if (unused > 2 && empty_untouched(&entries[2], frames[2]))
				first = 3;
		}
	}
	if (IS_ENABLED(CONFIG_SWIFT_KERNEL_STACKS_CHECK_LENT))
		kernelstacks_check_untouched(frames, first);
	if (unlikely(first < missing))
		kernelstacks_keep(prev, frames, first);
}

#endif
