/* SPDX-License-Identifier: GPL-2.0 */
/* What the rest asks of growing stacks. */
#ifndef KERNELSTACKS_GROWTH_H
#define KERNELSTACKS_GROWTH_H

#include <linux/types.h>

#include "record.h"

struct growth_figures {
	unsigned long lent, kept, parked, kicks, deepest_park;
	unsigned long given_back; /* of those that were kept, while their threads lived */
	long kept_now;
	unsigned int pool, in_sets, waiting, most_waiting, park_margin;
};

/* Whether stacks grow on a fault (fault.h), as opposed to by lent pages (lend.h). */
#ifdef CONFIG_SWIFT_KERNEL_STACKS_ENTRY
#include <linux/jump_label.h>
DECLARE_STATIC_KEY_FALSE(kernelstacks_fault_key);
static __always_inline bool kernelstacks_grows_on_fault(void) { return static_branch_unlikely(&kernelstacks_fault_key); }
#else
static __always_inline bool kernelstacks_grows_on_fault(void) { return false; }
#endif

/* The pages from `first` up are accounted for; where stacks grow on a fault, more may be mapped meanwhile. */
static __always_inline void kernelstacks_set_accounted(struct slot_record *record, unsigned int first)
{
#ifdef CONFIG_SWIFT_KERNEL_STACKS_ENTRY
	WRITE_ONCE(record->accounted, first);
#endif
}

/*
 * How many pages a stack lacks whose thread does not run, or is being switched from where pages are lent; the others are
 * accounted for.
 */
static __always_inline void kernelstacks_set_missing(struct slot_record *record, unsigned int missing)
{
	WRITE_ONCE(record->missing, missing);
	kernelstacks_set_accounted(record, missing);
#ifdef CONFIG_SWIFT_KERNEL_STACKS_ENTRY
	/* Where pages are lent, all are mapped while the thread runs. */
	record->low = kernelstacks_grows_on_fault() ? (unsigned long)record->area.addr + missing * PAGE_SIZE : 0;
#endif
}

#ifdef CONFIG_SWIFT_KERNEL_STACKS_GROWING
bool kernelstacks_may_grow(void);
extern bool kernelstacks_is_growing;
static inline bool kernelstacks_grows(void) { return kernelstacks_is_growing; }
/* The pages that a stack has got since fork, and that fork.c does not account for, leave KernelStack before it is freed. */
void kernelstacks_forget_pages(struct slot_record *record);
static inline void kernelstacks_forget_kept(struct slot_record *record)
{
	/* One that has a single page has kept none. */
	if (unlikely(record->missing < STACK_PAGES - 1 || record->lent || record->is_charge_due))
		kernelstacks_forget_pages(record);
}
void kernelstacks_empty_sets(unsigned int cpu);
void kernelstacks_growth_figures(struct growth_figures *figures);
void kernelstacks_parking_figures(struct growth_figures *figures);
/* How many pages threads have given back while they slept (shrink.c). */
unsigned long kernelstacks_given_back(void);
/* How many pages the pool and all sets have. */
unsigned long kernelstacks_spare_pages(void);
#else
static inline bool kernelstacks_may_grow(void) { return false; }
static inline bool kernelstacks_grows(void) { return false; }
static inline void kernelstacks_forget_kept(struct slot_record *record) {}
static inline void kernelstacks_empty_sets(unsigned int cpu) {}
static inline unsigned long kernelstacks_spare_pages(void) { return 0; }
#endif

#ifdef CONFIG_SWIFT_KERNEL_STACKS_TEST
/* Takes all frames out of the pool and lets none in, or fills it again. */
void kernelstacks_freeze_pool(bool freeze);
/* Wakes threads that wait for frames, although there are none: as if what they sleep for had come, or as if frames had. */
void kernelstacks_wake_parked(bool is_for_frames);
/* Lets so many leave the queue, too, as if there were frames for them. */
void kernelstacks_wake_first(unsigned int count);
/* The next that waits is woken before it sleeps. */
void kernelstacks_wake_early(void);
/* Wakes none, whatever is in the pool; or goes on. */
void kernelstacks_keep_waiters(bool keep);
/* The numbers of those in the queue; returns how many they are. */
unsigned int kernelstacks_list_waiters(char *text, size_t bytes);
/* What the test does while pages that a thread has kept are charged. */
void kernelstacks_test_charging(void);
/* Whether the test says that a CPU does not set access flags. */
bool kernelstacks_is_refused(unsigned int cpu);
#else
static inline void kernelstacks_test_charging(void) {}
static inline bool kernelstacks_is_refused(unsigned int cpu) { return false; }
#endif

#endif
