/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pool that frames for stacks come from, for pool.c, which fills it, and park.c, where threads wait for it.
 *
 *      CPU's spare set  <-- refill, under the run queue's lock --  pool  <-- kstackd, which may sleep --  page allocator
 *      [f0][f1][f2]                                            [ready entries]
 *
 * Order of locks: run queue, then pool. Nothing is taken under the pool's lock, and no thread is woken under it.
 */
#ifndef KERNELSTACKS_POOL_H
#define KERNELSTACKS_POOL_H

#include <linux/mm.h>
#include <linux/numa.h>
#include <linux/spinlock.h>

#include "frames.h"

/* The frames for the CPUs of a node: of its own memory, where the page allocator has some there. */
struct node_frames {
	u64 *frames; /* as entries, access flag 0 */
	unsigned int count, target;
};

struct frame_pool {
	raw_spinlock_t lock;
	struct node_frames nodes[MAX_NUMNODES];
	unsigned int count;   /* of all nodes */
	unsigned int waiting; /* threads in kernelstacks_park() */
	bool is_frozen;	      /* by the test */
	unsigned long kicks;
};

extern struct frame_pool kernelstacks_pool;

static inline struct page *page_of_frame(u64 frame)
{
	return pfn_to_page(pte_pfn(__pte(frame)));
}

/* Takes a frame out of the pool, which is locked and has one: of this CPU's node, if there is one. */
u64 kernelstacks_take_frame(void);

/* Moves frames from the pool to a set until it has `count`; the pool is locked. Says whether it has them. */
static inline bool refill_set(struct frame_set *set, unsigned int count)
{
	while (set->count < count && kernelstacks_pool.count)
		set->frame[set->count++] = kernelstacks_take_frame();
	return set->count >= count;
}

/* Makes the pool, and the thread that fills it. */
int kernelstacks_start_pool(void);
/* Wakes kstackd by an interrupt of this CPU: legal under the run queue's lock. */
void kernelstacks_kick(void);

/* How many of the threads that wait can be woken: for each there is a full set in the pool, which is locked. */
int kernelstacks_wakeable(void);
void kernelstacks_wake_waiters(void);

#endif
