/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Growing stacks: what both ways to back a running thread's missing pages share (lend.h, fault.h).
 *
 * The invariant: while a CPU runs a thread, there is a frame of the CPU's for each page that the thread's stack lacks. It
 * is established at the switch to the thread, under the run queue's lock, where nothing is allocated: frames come from a
 * pool that a kernel thread fills (pool.h). If there are too few, the thread waits at the end of the switch (park.c).
 */
#ifndef KERNELSTACKS_FRAMES_H
#define KERNELSTACKS_FRAMES_H

#include <linux/atomic.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <asm/pgtable-hwdef.h>

#include "record.h"
#include "versions.h"

/* How many pages a stack that grows can lack. */
#define MOST_MISSING (STACK_PAGES - 1)

/*
 * In the entry of a page that a stack has got since fork, or that is lent to it: a bit that CPUs ignore (58 to 55 are
 * software's).
 */
#define PTE_GROWN (_AT(pteval_t, 1) << 57)

/*
 * What stays mapped below the stack pointer of a thread that does not run: enough to be switched in, to wait in
 * kernelstacks_park(), to choose the next thread and balance load there, and to be interrupted. Lockdep takes more. Some more, and a
 * thread that waits in poll() would keep a second page. Where pages are lent it begins at the saved stack pointer; on a fault at that
 * of __schedule(), some 100 bytes above.
 */
#define PARK_MARGIN (IS_ENABLED(CONFIG_PROVE_LOCKING) ? 3072 : 2112)

struct frame_set {
	u64 frame[MOST_MISSING]; /* as the entry that maps it, access flag 0 */
	u64 count;
};

/*
 * Where pages are lent, the sets take turns: the next thread's frames are lent before the last one's are taken back.
 * Where stacks grow on a fault, the first is the CPU's reserve, and the second is empty.
 */
struct cpu_frames {
	struct frame_set set[2] __aligned(2 * sizeof(struct frame_set));
	struct frame_set *spare; /* the set that the next thread's pages come from */
	unsigned long lent, kept, parked;
	unsigned long ended; /* pages that were kept, of threads that have ended */
};

DECLARE_PER_CPU(struct cpu_frames, kernelstacks_cpu);

/* Fills the spare set for a thread that is switched to, if it can; whether it has enough. The run queue is locked. */
bool kernelstacks_refill(struct slot_record *record, struct cpu_frames *cpu);
void kernelstacks_park(void (*schedule)(schedule_mode mode));
/* What a thread has grown by since its last switch is its own from now on. The run queue is locked. */
void kernelstacks_keep_grown(struct task_struct *task);
void kernelstacks_check_untouched(const u64 *frames, unsigned int count);
void kernelstacks_check_lendable(const struct slot_record *record);
/* Takes a page that goes back out of KernelStack and, if fork.c accounts for it, out of its memory cgroup. */
void kernelstacks_unaccount(struct page *page, bool is_accounted);
/* The next rest of a thread on this stack is a new one (shrink.c). */
void kernelstacks_forget_rest(struct slot_record *record);

/* How many threads have `is_short` set: nearly always none, so that a switch reads only this. */
extern atomic_t kernelstacks_short_threads;

static inline void set_short(struct slot_record *record, bool is_short)
{
	if (record->is_short != is_short)
		atomic_add(is_short ? 1 : -1, &kernelstacks_short_threads);
	record->is_short = is_short;
}

/* Whether the thread that runs has been switched to without enough frames. */
static __always_inline bool kernelstacks_is_short(void)
{
	struct slot_record *record;

	if (likely(!atomic_read(&kernelstacks_short_threads)))
		return false;
	record = record_of_task(current);
	return record && record->is_short;
}

/* How many of the lowest pages a thread that does not run can do without: its park margin stays, touched or not. */
static __always_inline long pages_below_margin(const struct task_struct *task, const struct slot_record *record)
{
	return (long)(task->thread.cpu_context.sp - PARK_MARGIN - (unsigned long)record->area.addr) >> PAGE_SHIFT;
}

#endif
