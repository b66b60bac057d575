/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of /proc/kernelstacks. Each writes what it found as the members of a JSON object, without the braces, and
 * returns 0 or an error.
 */
#ifndef KERNELSTACKS_TEST_H
#define KERNELSTACKS_TEST_H

#include <linux/types.h>

#define RESULT_BYTES 1024

/* Free memory, its largest block, KernelStack and page tables. */
int kernelstacks_figures(char *result);
/* Gives back the freed stacks that CPUs keep. */
int kernelstacks_drain_all(void);
/* Gives back what all caches hold, so that figures can be compared. */
int kernelstacks_settle(void);

/* Looks from now on how deep threads have been in their stacks when they end. */
int kernelstacks_watch_depths(void);
/* How deep those threads, and all that live, have been. */
int kernelstacks_depths(char *result);

/* Pins all free memory, then frees half of it in blocks of at most this order, chosen by seed. */
int kernelstacks_fragment(unsigned int order, u64 seed, char *result);
/* Frees what is still pinned. */
int kernelstacks_release(void);

/* Counts retired instructions from now on; user programs may read the counter (PMEVCNTR0_EL0). */
void kernelstacks_count_instructions(void);
u32 kernelstacks_instructions(void);
/* What exceptions from the kernel take, in a thread that has one page of its stack or all. */
int kernelstacks_measure_exceptions(char *result);
/* What a kernel stack costs while `live` others exist. */
int kernelstacks_measure(unsigned int live, char *result);

/* Refuses the n-th page allocation of each fork that the caller makes from now on; 0 refuses none. */
int kernelstacks_refuse(unsigned int n);
int kernelstacks_free_twice(char *result);
int kernelstacks_free_many_twice(void);
int kernelstacks_reuse(char *result);
int kernelstacks_free_foreign(void);
int kernelstacks_overflow(void);

/*
 * Goes `bytes` deep in the stack, with frames that are checked on the way back. At the bottom it yields (pause 0), goes on
 * (PAUSE_NONE), sleeps for so many ticks, waits as long as threads are held (PAUSE_HELD), or computes until it has been interrupted
 * (PAUSE_BUSY).
 */
#define PAUSE_NONE 998
#define PAUSE_HELD 999
#define PAUSE_BUSY 1000
int kernelstacks_recurse(unsigned int bytes, unsigned int pause);
/*
 * Meets an exception with the stack pointer so many bytes above the stack's base: a breakpoint, an interrupt, a store to a page
 * of the user that is not there yet, one that is refused, and a store as far below the stack pointer as one instruction can.
 */
enum { MEET_BREAK, MEET_INTERRUPT, MEET_USER_FAULT, MEET_REFUSED_FAULT, MEET_PUSH };
int kernelstacks_meet_exception(unsigned int kind, unsigned int offset);
/* Holds threads where they wait, or lets them go. */
int kernelstacks_hold(bool hold);
/* Takes all frames out of the pool that pages are lent from, or lets it be filled again. */
int kernelstacks_freeze(bool freeze);
/* Wakes threads that wait for frames, although there are none. */
int kernelstacks_wake_waiting(bool is_for_frames);
/* Lets so many threads leave the queue, in their turn, as if there were frames for them. */
int kernelstacks_wake_in_turn(unsigned int count);
/* Wakes none of those that wait for frames, whatever is there, or goes on. */
int kernelstacks_keep_waiting(bool keep);
/* The next thread that waits for frames sleeps only after it was woken, by another CPU. */
int kernelstacks_empty_set(void);
int kernelstacks_switch_with_lock(void);
int kernelstacks_wake_before_sleep(void);
/* Who waits for frames and sleeps, in order. */
int kernelstacks_queue(char *result);
/*
 * Takes all frames away, and has the caller switched out and in: in a state that allows no spurious wakeup, which it has to have
 * when there are frames again; or, for 0, as a reader of RCU.
 */
int kernelstacks_wait_as(unsigned int state);
/* Has threads go deeper from now on while pages that they have kept are charged to their memory cgroup. */
int kernelstacks_grow_when_charged(void);
/* Has all processes go deep from now on when nearly nothing is left of them. */
int kernelstacks_grow_at_exit(void);
/* What was lent, taken back, kept. */
int kernelstacks_lending(char *result);
/* Says of a CPU from now on that it does not set access flags. */
int kernelstacks_refuse_cpu(unsigned int cpu);

#endif
