// SPDX-License-Identifier: GPL-2.0
/* The pool that frames for lending come from, and the kernel thread that fills it (pool.h). */

#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "lending.h"
#include "pool.h"

#define FRAMES_PER_CPU 32

struct frame_pool kernelstacks_pool = {
	.lock = __RAW_SPIN_LOCK_UNLOCKED(kernelstacks_pool.lock),
};

static struct frame_pool *const pool = &kernelstacks_pool;
static DECLARE_WAIT_QUEUE_HEAD(kstackd_wait);

static void wake_kstackd(struct irq_work *work)
{
	wake_up(&kstackd_wait);
}
static DEFINE_IRQ_WORK(kick, wake_kstackd);

void kernelstacks_kick(void)
{
	pool->kicks++;
	irq_work_queue(&kick);
}

/* The spare set has too few frames for a thread that is switched to. Says whether it has enough now. */
bool kernelstacks_refill(struct slot_record *record, struct lending_cpu *cpu)
{
	struct frame_set *set = cpu->spare;
	bool must_kick;

	raw_spin_lock(&pool->lock);
	if (!pool->waiting)
		refill_set(set, LENT_PAGES);
	else if (record->may_refill)
		refill_set(set, record->missing);
	must_kick = pool->count < pool->target / 2;
	raw_spin_unlock(&pool->lock);
	if (must_kick)
		kernelstacks_kick();
	if (set->count >= record->missing)
		return true;
	cpu->is_short = true;
	return false;
}

static bool add_frame(void)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	bool is_added;

	if (!page)
		return false;
	raw_spin_lock_irq(&pool->lock);
	is_added = !pool->is_frozen && pool->count < pool->target;
	if (is_added)
		pool->frames[pool->count++] = pte_val(pfn_pte(page_to_pfn(page), PAGE_KERNEL)) & ~PTE_AF;
	raw_spin_unlock_irq(&pool->lock);
	if (!is_added)
		__free_page(page);
	return true;
}

static bool has_work(void)
{
	bool has_work;

	raw_spin_lock_irq(&pool->lock);
	has_work = !pool->is_frozen && (pool->count < pool->target / 2 || kernelstacks_wakeable() > 0);
	raw_spin_unlock_irq(&pool->lock);
	return has_work;
}

static int kstackd(void *unused)
{
	for (;;) {
		while (!READ_ONCE(pool->is_frozen) && READ_ONCE(pool->count) < pool->target) {
			if (!add_frame())
				schedule_timeout_idle(1);
			if (READ_ONCE(pool->waiting))
				kernelstacks_wake_waiters();
		}
		kernelstacks_wake_waiters();
		wait_event_idle(kstackd_wait, has_work());
	}
	return 0;
}

int __init kernelstacks_start_pool(void)
{
	unsigned int target = FRAMES_PER_CPU * num_possible_cpus();
	struct task_struct *task;

	pool->frames = kcalloc(target, sizeof(*pool->frames), GFP_KERNEL);
	if (!pool->frames)
		return -ENOMEM;
	pool->target = target;
	task = kthread_run(kstackd, NULL, "kstackd");
	if (!IS_ERR(task))
		return 0;
	pool->target = 0;
	kfree(pool->frames);
	return PTR_ERR(task);
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
		frame = pool->count ? pool->frames[--pool->count] : 0;
		raw_spin_unlock_irq(&pool->lock);
		if (!frame)
			break;
		__free_page(page_of_frame(frame));
	}
	if (!freeze)
		wake_up(&kstackd_wait);
}
#endif
