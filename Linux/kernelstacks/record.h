/* SPDX-License-Identifier: GPL-2.0 */
/* What is known of a slot's stack, beside Swift's own records: task->stack_vm_area points to it. */
#ifndef KERNELSTACKS_RECORD_H
#define KERNELSTACKS_RECORD_H

#include <linux/atomic.h>
#include <linux/llist.h>
#include <linux/sched.h>
#ifdef CONFIG_PREEMPT_RT
#include <linux/sched/rt.h>
#endif
#include <linux/task_work.h>
#include <linux/thread_info.h>
#include <linux/vmalloc.h>

#define STACK_PAGES (THREAD_SIZE / PAGE_SIZE)

struct slot_record {
	struct vm_struct area;
	struct page *pages[STACK_PAGES]; /* what fork.c accounts for; NULL for a page that is missing, or not yet charged */
	struct llist_node suspect;	 /* in `suspects`, while is_suspect is 1 */
	atomic_t is_suspect;
	u8 missing;	/* how many pages, from the lowest up, are not the thread's */
	bool is_short;	/* it has been switched to without what its stack lacks */
	/* Written under the pool's lock. */
	bool is_parked : 1;  /* it waits for frames, in kernelstacks_park() */
	bool may_refill : 1; /* it waits, and its turn to take frames has come */
	bool is_charge_due; /* `charge` is among the works of the task */
	u64 *lent;	/* the frames that are lent to the thread, which runs; or NULL */
	u64 *entries;	/* the stack's page-table entries, the lowest page's first */
#ifdef CONFIG_SWIFT_KERNEL_STACKS_ENTRY
	unsigned long low;	/* for entry.h: what is below is not mapped while the thread runs */
	unsigned long saved_x1; /* of entry.h */
	u8 accounted;		/* as `missing` was at the thread's last switch: pages below are in no account yet */
#endif
#if defined(CONFIG_SWIFT_KERNEL_STACKS_GROWING) && defined(CONFIG_MEMCG)
	struct callback_head charge; /* charges what the task has kept to its memory cgroup */
	bool is_charging;	     /* that is going on, and may sleep */
#endif
};

/* Whether pages of the stack are being charged: they have to stay. */
static inline bool is_charging(const struct slot_record *record)
{
#if defined(CONFIG_SWIFT_KERNEL_STACKS_GROWING) && defined(CONFIG_MEMCG)
	return record->is_charging;
#else
	return false;
#endif
}

/* The lowest page that is accounted for. */
static inline unsigned int accounted_from(const struct slot_record *record)
{
#ifdef CONFIG_SWIFT_KERNEL_STACKS_ENTRY
	return READ_ONCE(record->accounted);
#else
	return READ_ONCE(record->missing);
#endif
}

/*
 * Whether all pages of a thread's stack become its own when it is switched from, so that it waits for no frames: with PREEMPT_RT, of
 * one that has a real-time policy, or holds a lock that sleeps there and spins elsewhere (such a thread does not migrate), or waits for
 * a lock, which it is then to take before others. It may be a lock of the page allocator, which kstackd needs to get frames.
 */
static __always_inline bool keeps_all_pages(struct task_struct *task)
{
#ifdef CONFIG_PREEMPT_RT
	return task->migration_disabled || task->pi_blocked_on || rt_or_dl_task_policy(task);
#else
	return false;
#endif
}

#ifdef CONFIG_VMAP_STACK
/* NULL for the first task, whose stack is part of the image. */
static __always_inline struct slot_record *record_of_task(const struct task_struct *task)
{
	return (struct slot_record *)task->stack_vm_area;
}
#endif

#endif
