// SPDX-License-Identifier: GPL-2.0
/*
 * What is behind lending (lend.h): the pool that frames come from, the kernel thread that fills it, and threads that wait
 * for it.
 *
 *      CPU's spare set  <-- refill, under the run queue's lock --  pool  <-- kstackd, which may sleep --  page allocator
 *      [f0][f1][f2]                                            [ready entries]
 *
 * Order of locks: run queue, then pool. Nothing is taken under the pool's lock, and no thread is woken under it.
 *
 * Safety: a thread runs only where each page of its stack is mapped; so no access ever needs a frame that is not there. If
 * there are too few, the switch goes on, and the thread waits: it reaches kernelstacks_park() within its park margin, and
 * runs on when it has got its frames. Threads that wait are served in the order in which they came; meanwhile no other
 * takes frames from the pool.
 *
 * Liveness: each of them runs in the end if the page allocator gives kstackd frames in the end: one for each page that
 * became a thread's, and two sets for each CPU.
 */

#include <linux/cpuhotplug.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched/debug.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/vmstat.h>
#include <linux/wait.h>
#include <asm/cpufeature.h>
#include <asm/stack_pointer.h>

#include "lend.h"
#include "lending.h"

/* Of kernel/sched/core.c: block in the state that was set; or stay runnable. */
#define BLOCK 0
#define YIELD 1

#define POOL_FRAMES_PER_CPU 32

DEFINE_PER_CPU(struct lending_cpu, kernelstacks_cpu);

struct waiter {
	struct list_head place;
	struct task_struct *task;
	bool is_queued, is_woken;
};

static struct {
	raw_spinlock_t lock;
	u64 *frames; /* as entries, access flag 0 */
	unsigned int count, target;
	unsigned int waiting;	/* threads in kernelstacks_park() */
	struct list_head queue; /* those of them that sleep, the one that came first at the head */
	unsigned int woken;	/* those that have left the queue and have not taken their frames yet */
	bool is_frozen;		/* by the test */
	unsigned int most_waiting;
	unsigned long kicks;
} pool = {
	.lock = __RAW_SPIN_LOCK_UNLOCKED(pool.lock),
	.queue = LIST_HEAD_INIT(pool.queue),
};

static bool is_lending __read_mostly;
static DECLARE_WAIT_QUEUE_HEAD(kstackd_wait);
static unsigned long deepest_park;

static void wake_kstackd(struct irq_work *work)
{
	wake_up(&kstackd_wait);
}
static DEFINE_IRQ_WORK(kick, wake_kstackd);

/* Legal under the run queue's lock: kstackd is woken by an interrupt of this CPU. */
static void kick_kstackd(void)
{
	pool.kicks++;
	irq_work_queue(&kick);
}

static struct page *page_of(u64 frame)
{
	return pfn_to_page(pte_pfn(__pte(frame)));
}

/* Under the run queue's lock */

/* Moves frames from the pool to a set until it has `count`; the pool is locked. Says whether it has them. */
static bool refill_set(struct frame_set *set, unsigned int count)
{
	while (set->count < count && pool.count)
		set->frame[set->count++] = pool.frames[--pool.count];
	return set->count >= count;
}

/* The spare set has too few frames for a thread that is switched to. Says whether it has enough now. */
bool kernelstacks_refill(struct slot_record *record, struct lending_cpu *cpu)
{
	struct frame_set *set = cpu->spare;
	bool must_kick;

	raw_spin_lock(&pool.lock);
	if (!pool.waiting)
		refill_set(set, LENT_PAGES);
	else if (record->may_refill)
		refill_set(set, record->missing);
	must_kick = pool.count < pool.target / 2;
	raw_spin_unlock(&pool.lock);
	if (must_kick)
		kick_kstackd();
	if (set->count >= record->missing)
		return true;
	cpu->is_short = true;
	return false;
}

/* Pages that a thread has kept */

static void count_in_node(struct page *page, int sign)
{
	mod_node_page_state(page_pgdat(page), NR_KERNEL_STACK_KB, sign * (long)(PAGE_SIZE / 1024));
}

#ifdef CONFIG_MEMCG_KMEM
/*
 * In the task, before it returns to user space or ends: what it has kept becomes like what fork got. It is in use, so it is
 * charged beyond the limit, too.
 */
static void charge_kept(struct callback_head *work)
{
	struct slot_record *record = container_of(work, struct slot_record, charge);
	struct page *page;
	unsigned int i;

	/* Before `missing` is read: what is kept from here on makes the charge due again. */
	WRITE_ONCE(record->is_charge_due, false);
	barrier();
	for (i = READ_ONCE(record->missing); i < STACK_PAGES; i++) {
		page = page_of(READ_ONCE(record->entries[i]));
		if (record->pages[i] || memcg_kmem_charge_page(page, GFP_KERNEL | __GFP_NOFAIL, 0))
			continue;
		count_in_node(page, -1);
		mod_lruvec_page_state(page, NR_KERNEL_STACK_KB, PAGE_SIZE / 1024);
		record->pages[i] = page;
	}
}

/* The task does not run, and the run queue is locked, under which nothing can be charged. */
static void charge_later(struct task_struct *task, struct slot_record *record)
{
	if (!memcg_kmem_enabled() || record->is_charge_due)
		return;
	init_task_work(&record->charge, charge_kept);
	/* Refused once the task is about to end. */
	record->is_charge_due = !task_work_add(task, &record->charge, TWA_RESUME);
}
#else
static void charge_later(struct task_struct *task, struct slot_record *record) {}
#endif

/* Of pages that were lent, those from `first` up are the thread's from now on. Under the run queue's lock. */
void kernelstacks_keep(struct task_struct *task, u64 *frames, unsigned int first)
{
	struct slot_record *record = record_of_task(task);
	struct frame_set *set = container_of(frames, struct frame_set, frame[0]);
	unsigned int i;

	for (i = first; i < record->missing; i++) {
		/* Fails where a CPU has set the flag. */
		cmpxchg_relaxed(&record->entries[i], frames[i], frames[i] | PTE_AF);
		count_in_node(page_of(frames[i]), 1);
	}
	/* What a thread that lacks less has left of the set moves down. */
	for (i = record->missing; i < set->count; i++)
		frames[first + i - record->missing] = frames[i];
	set->count -= record->missing - first;
	raw_cpu_ptr(&kernelstacks_cpu)->kept += record->missing - first;
	record->missing = first;
	charge_later(task, record);
}

/* The pages that a stack has got since fork, and that fork.c does not account for, leave KernelStack before it is freed. */
void kernelstacks_forget_kept(struct slot_record *record)
{
	unsigned int i;

	WARN_ON_ONCE(record->lent || record->is_charge_due);
	for (i = record->missing; i < STACK_PAGES; i++)
		if (!record->pages[i])
			count_in_node(page_of(record->entries[i]), -1);
}

void kernelstacks_check_untouched(const u64 *frames, unsigned int count)
{
	while (count--)
		if (memchr_inv(page_address(page_of(frames[count])), 0, PAGE_SIZE))
			panic("kernelstacks: a page was written, and its entry is untouched");
}

/* Waiting for frames */

/*
 * Whether the thread can sleep here, and leave as TASK_RUNNING: to those who wait further up, a spurious wakeup. States
 * that allow none are kept, and so is a reader of RCU that was preempted: these stay runnable, and look again.
 */
static bool can_sleep(void)
{
	if (READ_ONCE(current->__state) & (__TASK_STOPPED | __TASK_TRACED | TASK_PARKED | TASK_DEAD))
		return false;
#ifdef CONFIG_DEBUG_ATOMIC_SLEEP
	if (current->non_block_count)
		return false;
#endif
	/* What waits in the plug may be what memory comes from. */
	return !rcu_preempt_depth() && !current->plug;
}

/*
 * Has the thread got what its stack lacks, if need be from what the pool has now? The pool is locked, interrupts are off.
 * Those that came first take first.
 */
static bool is_backed(struct slot_record *record, bool may_take)
{
	struct lending_cpu *cpu = raw_cpu_ptr(&kernelstacks_cpu);

	cpu->is_short = false;
	if (record->lent)
		return true;
	if (may_take)
		refill_set(cpu->spare, record->missing);
	if (cpu->spare->count < record->missing)
		return false;
	lend_spare_set(record, cpu);
	return true;
}

/* The pool is locked, for this and the next two. */
static void enter_queue(struct waiter *waiter)
{
	if (waiter->is_queued)
		return;
	/* One that was woken and found too few frames came before those that have been waiting since. */
	if (waiter->is_woken) {
		list_add(&waiter->place, &pool.queue);
		waiter->is_woken = false;
		record_of_task(waiter->task)->may_refill = false;
		pool.woken--;
	} else {
		list_add_tail(&waiter->place, &pool.queue);
	}
	waiter->is_queued = true;
}

static void leave_queue(struct waiter *waiter)
{
	list_del(&waiter->place);
	waiter->is_queued = false;
	waiter->is_woken = true;
	record_of_task(waiter->task)->may_refill = true;
	pool.woken++;
}

static void finish_waiting(struct waiter *waiter)
{
	if (waiter->is_queued)
		leave_queue(waiter);
	if (waiter->is_woken)
		pool.woken--;
	pool.waiting--;
}

#ifdef CONFIG_SWIFT_KERNEL_STACKS_TEST
#define PAINT 0x7061696e74656421ul

/* How much of the margin a wait takes is seen by the paint that is left. Inlined: a frame of its own would lie in the paint. */
static __always_inline u64 *end_of_margin(unsigned long start)
{
	return (u64 *)max(start - PARK_MARGIN, (unsigned long)task_stack_page(current));
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
#else
static void paint_margin(unsigned long start) {}
static void measure_margin(unsigned long start) {}
#endif

/* On the stack of a thread that was switched to without enough frames, within its park margin. Preemption is off. */
void __sched kernelstacks_park(void (*schedule)(unsigned int mode))
{
	struct slot_record *record = record_of_task(current);
	struct waiter waiter = { .task = current };
	unsigned long before = current->thread.cpu_context.sp;
	bool must_sleep = true, others_wait;

	/* Switched to while it waits, and still short: the loop further up this stack sees to it. */
	if (record->is_parked) {
		raw_cpu_write(kernelstacks_cpu.is_short, false);
		return;
	}
	raw_spin_lock_irq(&pool.lock);
	raw_cpu_ptr(&kernelstacks_cpu)->parked++;
	record->is_parked = true;
	pool.waiting++;
	pool.most_waiting = max(pool.most_waiting, pool.waiting);
	paint_margin(before);
	while (!is_backed(record, waiter.is_woken || !must_sleep || pool.waiting == 1)) {
		must_sleep = can_sleep();
		record->may_refill = !must_sleep;
		if (must_sleep) {
			enter_queue(&waiter);
			/* Before the lock is released, so that no wakeup is missed. */
			set_current_state(TASK_IDLE);
		}
		raw_spin_unlock_irq(&pool.lock);
		kick_kstackd();
		schedule(must_sleep ? BLOCK : YIELD);
		if (must_sleep)
			__set_current_state(TASK_RUNNING);
		raw_spin_lock_irq(&pool.lock);
	}
	measure_margin(before);
	finish_waiting(&waiter);
	record->is_parked = record->may_refill = false;
	others_wait = !list_empty(&pool.queue);
	raw_spin_unlock_irq(&pool.lock);
	if (others_wait)
		kick_kstackd();
}

/* How many threads can be woken: for each there is a full set in the pool. */
static int wakeable(void)
{
	return list_empty(&pool.queue) ? 0 : (int)(pool.count / LENT_PAGES) - (int)pool.woken;
}

static void wake_waiters(void)
{
	struct task_struct *task;
	struct waiter *waiter;

	raw_spin_lock_irq(&pool.lock);
	while (wakeable() > 0) {
		waiter = list_first_entry(&pool.queue, struct waiter, place);
		leave_queue(waiter);
		task = get_task_struct(waiter->task);
		raw_spin_unlock_irq(&pool.lock);
		wake_up_state(task, TASK_IDLE);
		put_task_struct(task);
		raw_spin_lock_irq(&pool.lock);
	}
	raw_spin_unlock_irq(&pool.lock);
}

/* The kernel thread that fills the pool */

static bool add_frame(void)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	bool is_added;

	if (!page)
		return false;
	raw_spin_lock_irq(&pool.lock);
	is_added = !pool.is_frozen && pool.count < pool.target;
	if (is_added)
		pool.frames[pool.count++] = pte_val(pfn_pte(page_to_pfn(page), PAGE_KERNEL)) & ~PTE_AF;
	raw_spin_unlock_irq(&pool.lock);
	if (!is_added)
		__free_page(page);
	return true;
}

static bool has_work(void)
{
	bool has_work;

	raw_spin_lock_irq(&pool.lock);
	has_work = !pool.is_frozen && (pool.count < pool.target / 2 || wakeable() > 0);
	raw_spin_unlock_irq(&pool.lock);
	return has_work;
}

static int kstackd(void *unused)
{
	for (;;) {
		while (!READ_ONCE(pool.is_frozen) && READ_ONCE(pool.count) < pool.target) {
			if (!add_frame())
				schedule_timeout_idle(1);
			if (READ_ONCE(pool.waiting))
				wake_waiters();
		}
		wake_waiters();
		wait_event_idle(kstackd_wait, has_work());
	}
	return 0;
}

/* CPUs */

/* A CPU's frames go back. It runs no thread, or never has. */
void kernelstacks_empty_sets(unsigned int cpu)
{
	struct lending_cpu *its = per_cpu_ptr(&kernelstacks_cpu, cpu);
	int i;

	for (i = 0; i < 2; i++) {
		struct frame_set *set = &its->set[i];

		while (set->count)
			__free_page(page_of(set->frame[--set->count]));
	}
}

/*
 * On a CPU that comes online, before threads of users can run there: it must set access flags, by its own account and by
 * what was set up.
 */
static int check_cpu(unsigned int cpu)
{
	unsigned long features = read_cpuid(ID_AA64MMFR1_EL1);

	if (cpuid_feature_extract_unsigned_field(features, ID_AA64MMFR1_EL1_HAFDBS_SHIFT) &&
	    read_sysreg(tcr_el1) & TCR_HA && !kernelstacks_is_refused(cpu))
		return 0;
	pr_err("kernelstacks: CPU %u does not set access flags (FEAT_HAFDBS)%s\n", cpu,
	       is_lending ? ", which growing stacks need: it stays offline" : "");
	return -EINVAL;
}

/* Whether the CPU that starts the system is fit for lending; the others are not there yet. */
bool __init kernelstacks_may_lend(void)
{
	u64 features = read_sanitised_ftr_reg(SYS_ID_AA64ISAR0_EL1);

	return cpu_has_hw_af() && cpuid_feature_extract_unsigned_field(features, ID_AA64ISAR0_EL1_ATOMIC_SHIFT) >= 2;
}

bool kernelstacks_lends(void)
{
	return is_lending;
}

/* When all CPUs are there, and no program of a user has run: until here all stacks are whole. */
static int __init start_lending(void)
{
	struct task_struct *task;
	unsigned int cpu;
	int state;

	for_each_possible_cpu(cpu) {
		struct lending_cpu *its = per_cpu_ptr(&kernelstacks_cpu, cpu);

		its->spare = &its->set[0];
	}
	if (!cpu_has_hw_af() || !system_uses_lse_atomics()) {
		pr_info("kernelstacks: stacks are whole, because not all CPUs set access flags (FEAT_HAFDBS, FEAT_LSE)\n");
		return 0;
	}
	pool.target = POOL_FRAMES_PER_CPU * num_possible_cpus();
	pool.frames = kcalloc(pool.target, sizeof(*pool.frames), GFP_KERNEL);
	if (!pool.frames)
		goto none;
	state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "kernelstacks:online", check_cpu, NULL);
	if (state < 0)
		goto none;
	task = kthread_run(kstackd, NULL, "kstackd");
	if (IS_ERR(task)) {
		cpuhp_remove_state(state);
		goto none;
	}
	is_lending = true;
	pr_info("kernelstacks: stacks grow: pages that a thread has not touched are lent to it while it runs\n");
	return 0;
none:
	kfree(pool.frames);
	pool.frames = NULL;
	pool.target = 0;
	pr_err("kernelstacks: stacks are whole, because lending could not be started\n");
	return 0;
}
core_initcall(start_lending);

/* What is going on */

void kernelstacks_lending_figures(struct lending_figures *figures)
{
	unsigned int cpu;

	*figures = (struct lending_figures){
		.pool = READ_ONCE(pool.count), .waiting = READ_ONCE(pool.waiting), .most_waiting = pool.most_waiting,
		.kicks = pool.kicks, .deepest_park = deepest_park,
	};
	for_each_possible_cpu(cpu) {
		struct lending_cpu *its = per_cpu_ptr(&kernelstacks_cpu, cpu);

		figures->lent += READ_ONCE(its->lent);
		figures->kept += READ_ONCE(its->kept);
		figures->parked += READ_ONCE(its->parked);
		figures->in_sets += READ_ONCE(its->set[0].count) + READ_ONCE(its->set[1].count);
	}
}

unsigned long kernelstacks_lendable_pages(void)
{
	struct lending_figures figures;

	kernelstacks_lending_figures(&figures);
	return figures.pool + figures.in_sets;
}

#ifdef CONFIG_SWIFT_KERNEL_STACKS_TEST
void kernelstacks_freeze_pool(bool freeze)
{
	u64 frame;

	raw_spin_lock_irq(&pool.lock);
	pool.is_frozen = freeze;
	raw_spin_unlock_irq(&pool.lock);
	while (freeze) {
		raw_spin_lock_irq(&pool.lock);
		frame = pool.count ? pool.frames[--pool.count] : 0;
		raw_spin_unlock_irq(&pool.lock);
		if (!frame)
			break;
		__free_page(page_of(frame));
	}
	if (!freeze)
		wake_up(&kstackd_wait);
}
#endif
