// SPDX-License-Identifier: GPL-2.0
/* The pool that frames for stacks come from, and the kernel thread that fills it (pool.h). */

#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/nodemask.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/swait.h>
#include <linux/topology.h>

#include "growth.h"
#include "pool.h"

#define FRAMES_PER_CPU 32

struct frame_pool kernelstacks_pool = {
	.lock = __RAW_SPIN_LOCK_UNLOCKED(kernelstacks_pool.lock),
};

atomic_t kernelstacks_short_threads = ATOMIC_INIT(0);

static struct frame_pool *const pool = &kernelstacks_pool;
/* A queue whose lock is a raw one: it is taken in an interrupt, with PREEMPT_RT, too. */
static DECLARE_SWAIT_QUEUE_HEAD(kstackd_wait);

static void wake_kstackd(struct irq_work *work)
{
	swake_up_one(&kstackd_wait);
}
static struct irq_work kick = IRQ_WORK_INIT_HARD(wake_kstackd);

void kernelstacks_kick(void)
{
	pool->kicks++;
	irq_work_queue(&kick);
}

u64 kernelstacks_take_frame(void)
{
	struct node_frames *node = &pool->nodes[numa_node_id()];

	if (!node->count)
		for (node = pool->nodes; !node->count;)
			node++;
	pool->count--;
	return node->frames[--node->count];
}

static bool is_low(const struct node_frames *node)
{
	return READ_ONCE(node->count) < node->target / 2;
}

/* The spare set has too few frames for a thread that is switched to. Says whether it has enough now. */
bool kernelstacks_refill(struct slot_record *record, struct cpu_frames *cpu)
{
	struct frame_set *set = cpu->spare;
	bool must_kick;

	raw_spin_lock(&pool->lock);
	if (!pool->waiting)
		refill_set(set, MOST_MISSING);
	else if (record->may_refill)
		refill_set(set, record->missing);
	must_kick = is_low(&pool->nodes[numa_node_id()]);
	raw_spin_unlock(&pool->lock);
	if (must_kick)
		kernelstacks_kick();
	if (set->count >= record->missing)
		return true;
	set_short(record, true);
	return false;
}

/* The node that lacks most frames; NUMA_NO_NODE if none lacks any. */
static int lacking_node(void)
{
	unsigned int lack, most = 0;
	int node, lacking = NUMA_NO_NODE;

	for_each_node(node) {
		lack = pool->nodes[node].target - READ_ONCE(pool->nodes[node].count);
		if (lack <= most)
			continue;
		most = lack;
		lacking = node;
	}
	return lacking;
}

/* Only kstackd adds frames. */
static bool add_frame(int node)
{
	struct node_frames *its = &pool->nodes[node];
	struct page *page = alloc_pages_node(node, GFP_KERNEL | __GFP_ZERO, 0);
	bool is_frozen;

	if (!page)
		return false;
	raw_spin_lock_irq(&pool->lock);
	is_frozen = pool->is_frozen;
	if (!is_frozen) {
		its->frames[its->count++] = (pte_val(pfn_pte(page_to_pfn(page), PAGE_KERNEL)) & ~PTE_AF) | PTE_GROWN;
		pool->count++;
	}
	raw_spin_unlock_irq(&pool->lock);
	if (is_frozen)
		__free_page(page);
	return true;
}

static bool has_work(void)
{
	bool has_work;
	int node;

	raw_spin_lock_irq(&pool->lock);
	has_work = kernelstacks_wakeable() > 0;
	for_each_node(node)
		has_work |= is_low(&pool->nodes[node]);
	has_work &= !pool->is_frozen;
	raw_spin_unlock_irq(&pool->lock);
	return has_work;
}

static int kstackd(void *unused)
{
	int node;

	for (;;) {
		while (!READ_ONCE(pool->is_frozen) && (node = lacking_node()) != NUMA_NO_NODE) {
			if (!add_frame(node))
				schedule_timeout_idle(1);
			if (READ_ONCE(pool->waiting))
				kernelstacks_wake_waiters();
		}
		kernelstacks_wake_waiters();
		swait_event_idle_exclusive(kstackd_wait, has_work());
	}
	return 0;
}

static void __init free_pool(void)
{
	int node;

	for_each_node(node) {
		kfree(pool->nodes[node].frames);
		pool->nodes[node] = (struct node_frames){};
	}
}

int __init kernelstacks_start_pool(void)
{
	struct task_struct *task;
	struct node_frames *its;
	unsigned int cpu;
	int node;

	for_each_possible_cpu(cpu)
		pool->nodes[cpu_to_node(cpu)].target += FRAMES_PER_CPU;
	for_each_node(node) {
		its = &pool->nodes[node];
		its->frames = kcalloc_node(its->target, sizeof(*its->frames), GFP_KERNEL, node);
		if (!its->frames)
			goto undo;
	}
	task = kthread_run(kstackd, NULL, "kstackd");
	if (!IS_ERR(task)) {
		/* Threads wait for it, or take another node's frames. */
		if (IS_ENABLED(CONFIG_PREEMPT_RT))
			sched_set_fifo(task);
		else
			set_user_nice(task, MIN_NICE);
		return 0;
	}
undo:
	free_pool();
	return -ENOMEM;
}

#ifdef CONFIG_SWIFT_KERNEL_STACKS_TEST
void kernelstacks_freeze_pool(bool freeze)
{
	u64 frame;

	raw_spin_lock_irq(&pool->lock);
	pool->is_frozen = freeze;
	raw_spin_unlock_irq(&pool->lock);
	while (freeze) {
		raw_spin_lock_irq(&pool->lock);
		frame = pool->count ? kernelstacks_take_frame() : 0;
		raw_spin_unlock_irq(&pool->lock);
		if (!frame)
			break;
		__free_page(page_of_frame(frame));
	}
	if (!freeze)
		swake_up_one(&kstackd_wait);
}
#endif
