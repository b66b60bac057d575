// SPDX-License-Identifier: GPL-2.0
/* Growing stacks: threads that go deep, a pool without frames, a CPU without access flags. */

#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/wait.h>

#include "../growth.h"
#include "test.h"

#define FRAME_WORDS 24

static DECLARE_WAIT_QUEUE_HEAD(holding);
static bool is_holding;

int kernelstacks_hold(bool hold)
{
	WRITE_ONCE(is_holding, hold);
	wake_up_all(&holding);
	return 0;
}

static noinline void wait_while_held(void)
{
	wait_event(holding, !READ_ONCE(is_holding));
}

static noinline void compute(void)
{
	unsigned long until = jiffies + 2;

	while (time_before(jiffies, until))
		barrier(); /* an emulator that counts instructions takes very long for cpu_relax() */
}

/* Deeper, frame by frame, each of which holds words of its own; returns how many were not what they should be. */
static noinline __attribute__((optimize("no-optimize-sibling-calls"))) int
recurse(unsigned long start, unsigned int bytes, unsigned int pause)
{
	volatile unsigned long frame[FRAME_WORDS];
	int i, wrong = 0;

	for (i = 0; i < FRAME_WORDS; i++)
		frame[i] = (unsigned long)&frame[i] * 2654435761u ^ start;
	if (start - (unsigned long)frame < bytes)
		wrong = recurse(start, bytes, pause);
	else if (pause == PAUSE_HELD)
		wait_while_held();
	else if (pause == PAUSE_NONE)
		barrier();
	else if (pause == PAUSE_BUSY)
		compute();
	else if (pause)
		schedule_timeout_uninterruptible(pause);
	else
		cond_resched();
	for (i = 0; i < FRAME_WORDS; i++)
		wrong += frame[i] != ((unsigned long)&frame[i] * 2654435761u ^ start);
	return wrong;
}

/* Late on its way out, where no charge can be put off any more, each process goes deep. */
static int grow_late(struct kprobe *probe, struct pt_regs *registers)
{
	if (!(current->flags & PF_KTHREAD))
		kernelstacks_recurse(12288, PAUSE_NONE);
	return 0;
}

static struct kprobe ending = { .symbol_name = "exit_task_stack_account", .pre_handler = grow_late };

int kernelstacks_grow_at_exit(void)
{
	return register_kprobe(&ending);
}

/* Of a frame that is larger than a page, only the lower end is written. */
static noinline int leap(void)
{
	volatile unsigned char *frame = __builtin_alloca(6000);

	frame[0] = 17;
	cond_resched();
	return frame[0] != 17;
}

int kernelstacks_recurse(unsigned int bytes, unsigned int pause)
{
	unsigned long top = (unsigned long)task_stack_page(current) + THREAD_SIZE;
	int wrong;

	/* What recurse() calls needs some room below. */
	if (bytes > THREAD_SIZE - 2048)
		return -EINVAL;
	wrong = bytes ? recurse(top, bytes, pause) : leap();
	if (!wrong)
		return 0;
	pr_err("kernelstacks: BUG: %d words of frames have changed\n", wrong);
	return -EIO;
}

static unsigned int refused_cpu = UINT_MAX;

bool kernelstacks_is_refused(unsigned int cpu)
{
	return cpu == refused_cpu;
}

int kernelstacks_refuse_cpu(unsigned int cpu)
{
	refused_cpu = cpu;
	return 0;
}

#ifdef CONFIG_SWIFT_KERNEL_STACKS_GROWING
#include <linux/rcupdate.h>
#include <linux/stop_machine.h>

#include "../pool.h"
#include "../threads.h"

static bool grows_when_charged;

/* While the pages that it has kept are charged, a thread that lacks others goes deeper. */
void kernelstacks_test_charging(void)
{
	if (grows_when_charged && record_of_task(current)->missing)
		kernelstacks_recurse(12288, 1);
}

int kernelstacks_grow_when_charged(void)
{
	grows_when_charged = true;
	return 0;
}

int kernelstacks_freeze(bool freeze)
{
	kernelstacks_freeze_pool(freeze);
	return 0;
}

int kernelstacks_wake_waiting(bool is_for_frames)
{
	kernelstacks_wake_parked(is_for_frames);
	return 0;
}

int kernelstacks_keep_waiting(bool keep)
{
	kernelstacks_keep_waiters(keep);
	return 0;
}

int kernelstacks_wake_before_sleep(void)
{
	kernelstacks_wake_early();
	return 0;
}

int kernelstacks_wake_in_turn(unsigned int count)
{
	kernelstacks_wake_first(count);
	return 0;
}

int kernelstacks_queue(char *result)
{
	char numbers[512];
	unsigned int count = kernelstacks_list_waiters(numbers, sizeof(numbers));

	snprintf(result, RESULT_BYTES, "\"queued\":%u,\"queue\":\"%s\"", count, numbers);
	return 0;
}

/* The CPU has no frames for who is switched to next. */
static struct frame_set take_spare_set(void)
{
	struct frame_set set;

	local_irq_disable();
	set = *raw_cpu_ptr(&kernelstacks_cpu)->spare;
	raw_cpu_ptr(&kernelstacks_cpu)->spare->count = 0;
	local_irq_enable();
	return set;
}

static void free_set(struct frame_set *set)
{
	while (set->count)
		__free_page(page_of_frame(set->frame[--set->count]));
}

int kernelstacks_empty_set(void)
{
	struct frame_set set = take_spare_set();

	free_set(&set);
	return 0;
}

static int do_nothing(void *unused)
{
	return 0;
}

/* To a thread whose priority is above all. Preemption is off before, so that there is no other switch since the set was taken. */
static void switch_out_and_in(void)
{
	static struct cpu_stop_work work;

	stop_one_cpu_nowait(raw_smp_processor_id(), do_nothing, NULL, &work);
	preempt_enable();
}

#ifdef CONFIG_PREEMPT_RT
/* It waits for a lock, on its way to sleep; who wakes it from that sleep meanwhile is not to wake it in vain. */
static int wait_in_lock(void)
{
	bool is_woken;

	set_current_state(TASK_UNINTERRUPTIBLE);
	local_irq_disable();
	current_save_and_set_rtlock_wait_state();
	local_irq_enable();
	switch_out_and_in();
	local_irq_disable();
	current_restore_rtlock_saved_state();
	local_irq_enable();
	is_woken = task_is_running(current);
	__set_current_state(TASK_RUNNING);
	return is_woken ? 0 : -EINTR;
}
#else
static int wait_in_lock(void) { return -EOPNOTSUPP; }
#endif

/* With PREEMPT_RT, a thread that is switched from with such a lock has all pages then. */
int kernelstacks_switch_with_lock(void)
{
	static DEFINE_SPINLOCK(lock);
	unsigned int missing;

	spin_lock(&lock);
	preempt_disable();
	switch_out_and_in();
	missing = record_of_task(current)->missing;
	spin_unlock(&lock);
	return missing ? -EINTR : 0;
}

static int wait_in_rcu(void)
{
	rcu_read_lock();
	switch_out_and_in();
	rcu_read_unlock();
	return 0;
}

static int wait_in_state(unsigned int state)
{
	unsigned int after;

	set_special_state(state);
	switch_out_and_in();
	after = READ_ONCE(current->__state);
	__set_current_state(TASK_RUNNING);
	return after == state ? 0 : -EINTR;
}

int kernelstacks_wait_as(unsigned int state)
{
	struct frame_set set;
	int error;

	if (!IS_ENABLED(CONFIG_PREEMPTION))
		return -EOPNOTSUPP;
	/* What it may need meanwhile is there: the frames that are taken may be its own. */
	if (kernelstacks_recurse(6000, PAUSE_NONE))
		return -EIO;
	kernelstacks_freeze_pool(true);
	preempt_disable();
	/* With PREEMPT_RT it may have been switched from with a lock: another is to try. */
	if (!record_of_task(current)->missing) {
		preempt_enable();
		kernelstacks_freeze_pool(false);
		return -EAGAIN;
	}
	set = take_spare_set();
	if (!state)
		error = wait_in_rcu();
	else if (state == TASK_RTLOCK_WAIT)
		error = wait_in_lock();
	else
		error = wait_in_state(state);
	free_set(&set);
	return error;
}

int kernelstacks_lending(char *result)
{
	struct growth_figures figures;
	struct stack_counts counts;

	kernelstacks_growth_figures(&figures);
	kernelstacks_count_stacks(&counts);
	snprintf(result, RESULT_BYTES,
		 "\"grows\":%d,\"onFault\":%d,\"lent\":%lu,\"kept\":%lu,\"givenBack\":%lu,\"keptNow\":%ld,\"parked\":%lu,\"waiting\":%u,\"mostWaiting\":%u,\"pool\":%u,"
		 "\"inSets\":%u,\"deepestPark\":%lu,\"parkMargin\":%u,\"kicks\":%lu,\"onePage\":%lu,\"twoPages\":%lu,\"threePages\":%lu,\"fourPages\":%lu,"
		 "\"kernelThreadsThatLackPages\":%lu",
		 kernelstacks_grows(), kernelstacks_grows_on_fault(), figures.lent, figures.kept, figures.given_back, figures.kept_now, figures.parked, figures.waiting, figures.most_waiting,
		 figures.pool, figures.in_sets, figures.deepest_park, figures.park_margin, figures.kicks, counts.user[1], counts.user[2],
		 counts.user[3], counts.user[4], counts.kernel[1] + counts.kernel[2] + counts.kernel[3]);
	return 0;
}
#else
int kernelstacks_freeze(bool freeze) { return -EOPNOTSUPP; }
int kernelstacks_wake_waiting(bool is_for_frames) { return -EOPNOTSUPP; }
int kernelstacks_grow_when_charged(void) { return -EOPNOTSUPP; }
int kernelstacks_keep_waiting(bool keep) { return -EOPNOTSUPP; }
int kernelstacks_empty_set(void) { return -EOPNOTSUPP; }
int kernelstacks_switch_with_lock(void) { return -EOPNOTSUPP; }
int kernelstacks_wake_before_sleep(void) { return -EOPNOTSUPP; }
int kernelstacks_wake_in_turn(unsigned int count) { return -EOPNOTSUPP; }
int kernelstacks_queue(char *result) { return -EOPNOTSUPP; }
int kernelstacks_wait_as(unsigned int state) { return -EOPNOTSUPP; }
int kernelstacks_lending(char *result)
{
	snprintf(result, RESULT_BYTES, "\"grows\":0");
	return 0;
}
#endif
