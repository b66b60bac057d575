// SPDX-License-Identifier: GPL-2.0
/*
 * Waiting for frames.
 *
 * Safety: a thread runs only where there is a frame for each page of its stack; so no access ever needs one that is not there. If
 * there are too few, the switch goes on, and the thread waits: it reaches kernelstacks_park() within its park margin, and
 * runs on when it has got its frames. Threads that wait are served in the order in which they came; meanwhile no other
 * takes frames from the pool.
 *
 * Liveness: each of them runs in the end if the page allocator gives kstackd frames in the end: one for each page that
 * became a thread's, and two sets for each CPU.
 */

#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/sched/debug.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <asm/stack_pointer.h>

#include "growth.h"
#include "lend.h"
#include "pool.h"

/*
 * Of kernel/sched/core.c: block in the state that was set; or stay runnable. With PREEMPT_RT, block as one does for a lock: also
 * as a reader of RCU, and in a state that keeps wakeups for what the thread waits for besides.
 */
#ifdef CONFIG_PREEMPT_RT
#define BLOCK 2
#define WAITING TASK_RTLOCK_WAIT
#else
#define BLOCK 0
#define WAITING TASK_IDLE
#endif
#define YIELD 1

struct waiter {
	struct list_head place;
	struct task_struct *task;
	unsigned int turn; /* in the order in which threads came; wraps */
	bool is_queued, is_woken;
};

static struct frame_pool *const pool = &kernelstacks_pool;

/* Under the pool's lock. */
static LIST_HEAD(queue);	/* waiters that sleep, the one that came first at the head */
static unsigned int woken;	/* those that have left the queue and have not taken their frames yet */
static unsigned int most_waiting;
static unsigned int last_turn;
static unsigned long deepest_park;

/*
 * Whether the thread can sleep here, and leave as TASK_RUNNING: to those who wait further up, a spurious wakeup. States
 * that allow none are kept, and so is a reader of RCU that was preempted: these stay runnable, and look again.
 */
static bool can_sleep(void)
{
	if (READ_ONCE(current->__state) & (__TASK_STOPPED | __TASK_TRACED | TASK_PARKED | TASK_DEAD))
		return false;
	/* What waits in the plug may be what memory comes from. */
	if (current->plug)
		return false;
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return true;
#ifdef CONFIG_DEBUG_ATOMIC_SLEEP
	if (current->non_block_count)
		return false;
#endif
	return !rcu_preempt_depth();
}

/*
 * Has the thread got what its stack lacks, if need be from what the pool has now? The pool is locked, interrupts are off.
 * Those that came first take first.
 */
static bool is_backed(struct slot_record *record, bool may_take)
{
	struct cpu_frames *cpu = raw_cpu_ptr(&kernelstacks_cpu);

	set_short(record, false);
	if (record->lent)
		return true;
	if (may_take)
		refill_set(cpu->spare, record->missing);
	if (cpu->spare->count < record->missing)
		return false;
	if (!kernelstacks_grows_on_fault())
		lend_spare_set(record, cpu);
	return true;
}

/* The pool is locked, for this and the next two. */
static void enter_queue(struct waiter *waiter)
{
	struct waiter *earlier;

	if (waiter->is_queued)
		return;
	/* From the end: only one that was woken and found too few frames came before others. */
	list_for_each_entry_reverse(earlier, &queue, place)
		if ((int)(earlier->turn - waiter->turn) < 0)
			break;
	list_add(&waiter->place, &earlier->place);
	waiter->is_queued = true;
	if (!waiter->is_woken)
		return;
	waiter->is_woken = false;
	record_of_task(waiter->task)->may_refill = false;
	woken--;
}

static void leave_queue(struct waiter *waiter)
{
	list_del(&waiter->place);
	waiter->is_queued = false;
	waiter->is_woken = true;
	record_of_task(waiter->task)->may_refill = true;
	woken++;
}

static void finish_waiting(struct waiter *waiter)
{
	if (waiter->is_queued)
		leave_queue(waiter);
	if (waiter->is_woken)
		woken--;
	pool->waiting--;
}

#ifdef CONFIG_SWIFT_KERNEL_STACKS_TEST
#define PAINT 0x7061696e74656421ul

/* How much of the margin a wait takes is seen by the paint that is left. Inlined: a frame of its own would lie in the paint. */
static __always_inline u64 *end_of_margin(unsigned long start)
{
	unsigned long mapped = (unsigned long)task_stack_page(current) + record_of_task(current)->missing * PAGE_SIZE;

	return (u64 *)max(start - PARK_MARGIN, mapped);
}

/* The pool is locked, interrupts are off. */
static __always_inline void paint_margin(unsigned long start)
{
	u64 *word = end_of_margin(start), *end = (u64 *)current_stack_pointer;

	while (word < end)
		WRITE_ONCE(*word++, PAINT);
}

static __always_inline void measure_margin(unsigned long start)
{
	u64 *word = end_of_margin(start);

	while ((unsigned long)word < start && READ_ONCE(*word) == PAINT)
		word++;
	deepest_park = max(deepest_park, start - (unsigned long)word);
}

static bool is_early, are_waiters_kept;
static unsigned long wakeups;

/* Where the test asks for it: the thread goes on to sleep only after it was woken. Another CPU has to do that. */
static void await_early_wakeup(struct waiter *waiter)
{
	unsigned long before = READ_ONCE(wakeups);

	if (!xchg(&is_early, false))
		return;
	while (READ_ONCE(waiter->is_queued) || READ_ONCE(wakeups) == before)
		cpu_relax();
}

static void count_wakeup(void) { WRITE_ONCE(wakeups, wakeups + 1); }
#else
#define are_waiters_kept false
static void await_early_wakeup(struct waiter *waiter) {}
static void count_wakeup(void) {}
static void paint_margin(unsigned long start) {}
static void measure_margin(unsigned long start) {}
#endif

/* On the stack of a thread that was switched to without enough frames, within its park margin. Preemption is off. */
void __sched kernelstacks_park(void (*schedule)(schedule_mode mode))
{
	struct slot_record *record = record_of_task(current);
	struct waiter waiter = { .task = current };
	unsigned long before = current->thread.cpu_context.sp;
	bool must_sleep = true, others_wait;

	/* Switched to while it waits, and still short: the loop further up this stack sees to it. */
	if (record->is_parked) {
		set_short(record, false);
		return;
	}
	raw_spin_lock_irq(&pool->lock);
	raw_cpu_ptr(&kernelstacks_cpu)->parked++;
	record->is_parked = true;
	pool->waiting++;
	waiter.turn = ++last_turn;
	most_waiting = max(most_waiting, pool->waiting);
	paint_margin(before);
	while (!is_backed(record, waiter.is_woken || !must_sleep || pool->waiting == 1)) {
		must_sleep = can_sleep();
		record->may_refill = !must_sleep;
		if (must_sleep) {
			enter_queue(&waiter);
			/* Before the lock is released, so that no wakeup is missed. */
			set_current_state(WAITING);
		}
		raw_spin_unlock_irq(&pool->lock);
		if (must_sleep)
			await_early_wakeup(&waiter);
		kernelstacks_kick();
		schedule(must_sleep ? BLOCK : YIELD);
		if (must_sleep)
			__set_current_state(TASK_RUNNING);
		raw_spin_lock_irq(&pool->lock);
	}
	measure_margin(before);
	finish_waiting(&waiter);
	record->is_parked = record->may_refill = false;
	others_wait = !list_empty(&queue);
	raw_spin_unlock_irq(&pool->lock);
	if (others_wait)
		kernelstacks_kick();
}

int kernelstacks_wakeable(void)
{
	return list_empty(&queue) || are_waiters_kept ? 0 : (int)(pool->count / MOST_MISSING) - (int)woken;
}

/* Wakes the first in the queue; the pool is locked, but not meanwhile. */
static void wake_first(void)
{
	struct waiter *waiter = list_first_entry(&queue, struct waiter, place);
	struct task_struct *task = get_task_struct(waiter->task);

	leave_queue(waiter);
	raw_spin_unlock_irq(&pool->lock);
	wake_up_state(task, WAITING);
	put_task_struct(task);
	raw_spin_lock_irq(&pool->lock);
	count_wakeup();
}

void kernelstacks_wake_waiters(void)
{
	raw_spin_lock_irq(&pool->lock);
	while (kernelstacks_wakeable() > 0)
		wake_first();
	raw_spin_unlock_irq(&pool->lock);
}

void kernelstacks_parking_figures(struct growth_figures *figures)
{
	figures->waiting = READ_ONCE(pool->waiting);
	figures->most_waiting = READ_ONCE(most_waiting);
	figures->deepest_park = READ_ONCE(deepest_park);
	figures->park_margin = PARK_MARGIN;
}

#ifdef CONFIG_SWIFT_KERNEL_STACKS_TEST
/* Not under the pool's lock, as waking takes a run queue's. */
void kernelstacks_wake_parked(bool is_for_frames)
{
	struct task_struct *tasks[64];
	struct waiter *waiter;
	int i, count = 0;

	raw_spin_lock_irq(&pool->lock);
	list_for_each_entry(waiter, &queue, place)
		if (count < ARRAY_SIZE(tasks))
			tasks[count++] = get_task_struct(waiter->task);
	raw_spin_unlock_irq(&pool->lock);
	for (i = 0; i < count; i++) {
		wake_up_state(tasks[i], is_for_frames ? WAITING : TASK_NORMAL);
		put_task_struct(tasks[i]);
	}
}

void kernelstacks_wake_early(void)
{
	WRITE_ONCE(is_early, true);
}

void kernelstacks_keep_waiters(bool keep)
{
	WRITE_ONCE(are_waiters_kept, keep);
	kernelstacks_kick();
}

void kernelstacks_wake_first(unsigned int count)
{
	raw_spin_lock_irq(&pool->lock);
	while (count-- && !list_empty(&queue))
		wake_first();
	raw_spin_unlock_irq(&pool->lock);
}

unsigned int kernelstacks_list_waiters(char *text, size_t bytes)
{
	unsigned int count = 0;
	struct waiter *waiter;
	size_t length = 0;

	raw_spin_lock_irq(&pool->lock);
	text[0] = 0;
	list_for_each_entry(waiter, &queue, place) {
		length += scnprintf(text + length, bytes - length, " %d", waiter->task->pid);
		count++;
	}
	raw_spin_unlock_irq(&pool->lock);
	return count;
}
#endif
