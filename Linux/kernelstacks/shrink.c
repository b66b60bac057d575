// SPDX-License-Identifier: GPL-2.0
/*
 * When memory is short, threads that sleep give pages back: those below their park margin, which they have once used.
 *
 *     scan     each thread is pinned by task_call_func(): the locks that it is switched to under are held
 *              not on a CPU, of a kind that grows, and at rest?
 *     pinned   its lowest entries become empty, the TLB is invalidated: nothing old is in a TLB when pages are lent there
 *     after    the pages go out of the accounts, and back
 *
 * A thread is at rest when it has not run for a grace period of RCU. Who walks the frames of another thread does so as a
 * reader of RCU, or under exec_update_lock (/proc/PID/stack), and may have begun when that thread was deeper in its stack.
 *
 * Reclaim calls this with locks held and from kstackd, which threads wait for that may hold any lock that sleeps: so none
 * is waited for here.
 */

#include <linux/init.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/shrinker.h>
#include <linux/wait.h>
#include <asm/tlbflush.h>

#include "growth.h"
#include "pool.h"
#include "threads.h"
#include "versions.h"

DEFINE_MUTEX(kernelstacks_shrinking);
static unsigned long given_back; /* under the mutex */

struct scan {
	unsigned long wanted, given;
	bool has_begun_rest; /* of a thread */
};

/* What a thread gives back, from the lowest page up. */
struct gift {
	struct scan *scan;
	unsigned int count;
	struct page *pages[MOST_MISSING];
	bool is_accounted[MOST_MISSING]; /* by fork.c, as opposed to kept.c */
};

/*
 * A thread's rest: how often it had been switched out when the rest was first seen, and the grace period that it has to last
 * for. Both are in fields of `area` that mean nothing for a stack.
 */
static bool is_at_rest(struct task_struct *task, struct slot_record *record, struct scan *scan)
{
	const void *switches = (const void *)(task->nvcsw + task->nivcsw);

	if (record->area.caller == switches)
		return poll_state_synchronize_rcu((unsigned long)record->area.next);
	record->area.caller = switches;
	record->area.next = (struct vm_struct *)get_state_synchronize_rcu();
	scan->has_begun_rest = true;
	return false;
}

void kernelstacks_forget_rest(struct slot_record *record)
{
	record->area.caller = NULL;
}

/* The thread is pinned. Waiting threads keep what they have; of one that ends, fork.c accounts for what is there. */
static bool may_give(struct task_struct *task, const struct slot_record *record)
{
	/* Once it is off its CPU, all that was done at the switch is seen: pairs with finish_task(). */
	return !smp_load_acquire(&task->on_cpu) && !(task->flags & PF_EXITING) && !record->lent && !record->is_short &&
	       !record->is_parked && !is_charging(record) && !keeps_all_pages(task);
}

static int give_pages(struct task_struct *task, void *context)
{
	struct slot_record *record = record_of_task(task);
	unsigned long start = (unsigned long)record->area.addr;
	struct gift *gift = context;
	unsigned int i, first = record->missing;
	long end;

	if (!may_give(task, record))
		return 0;
	end = min_t(long, pages_below_margin(task, record), first + gift->scan->wanted);
	/* Stacks that are whole by design have no page that they have got since fork. */
	if (end <= (long)first || !(record->entries[first] & PTE_GROWN) || !is_at_rest(task, record, gift->scan))
		return 0;
	for (i = first; i < end; i++) {
		gift->pages[gift->count] = page_of_frame(record->entries[i]);
		gift->is_accounted[gift->count++] = record->pages[i];
		record->pages[i] = NULL;
		WRITE_ONCE(record->entries[i], 0);
	}
	flush_tlb_kernel_range(start + first * PAGE_SIZE, start + end * PAGE_SIZE);
	kernelstacks_set_missing(record, end);
	kernelstacks_forget_rest(record);
	return 0;
}

static void shrink_thread(struct task_struct *task, struct slot_record *record, void *context)
{
	struct gift gift = { .scan = context };

	/* Only a look: most threads have nothing to give. */
	if (!gift.scan->wanted || task->flags & PF_KTHREAD || READ_ONCE(record->missing) >= MOST_MISSING ||
	    !down_write_trylock(&task->signal->exec_update_lock))
		return;
	task_call_func(task, give_pages, &gift);
	up_write(&task->signal->exec_update_lock);
	gift.scan->wanted -= gift.count;
	gift.scan->given += gift.count;
	while (gift.count--) {
		kernelstacks_unaccount(gift.pages[gift.count], gift.is_accounted[gift.count]);
		__free_page(gift.pages[gift.count]);
	}
}

static unsigned long scan_threads(struct shrinker *shrinker, struct shrink_control *control)
{
	struct scan scan = { .wanted = control->nr_to_scan };

	if (!mutex_trylock(&kernelstacks_shrinking))
		return SHRINK_STOP;
	kernelstacks_visit_threads(shrink_thread, &scan);
	WRITE_ONCE(given_back, given_back + scan.given);
	mutex_unlock(&kernelstacks_shrinking);
	/* Grace periods begin because somebody asks for them. */
	if (scan.has_begun_rest)
		start_poll_synchronize_rcu();
	return scan.given ?: SHRINK_STOP;
}

static unsigned long count_kept(struct shrinker *shrinker, struct shrink_control *control)
{
	struct growth_figures figures;

	kernelstacks_growth_figures(&figures);
	return figures.kept_now > 0 ? figures.kept_now : SHRINK_EMPTY;
}

unsigned long kernelstacks_given_back(void)
{
	return READ_ONCE(given_back);
}

static struct shrinker thread_shrinker = {
	.count_objects = count_kept,
	.scan_objects = scan_threads,
};

static int __init register_thread_shrinker(void)
{
	return kernelstacks_grows() ? kernelstacks_register_shrinker(&thread_shrinker, "kernelstacks-threads") : 0;
}
late_initcall(register_thread_shrinker);
