// The spin lock's slow path on a host: CPUs are threads of which one executes, and each access to a shared word is a step.
#ifndef LOCK_HARNESS_H
#define LOCK_HARNESS_H

#include <stdint.h>

// The state that the CPUs of one run share: the lock, and figures about its rules.
struct lock_figures {
  uint64_t word;
  // Waits that began without a watch: no store of another CPU ends one.
  uint64_t waits_without_watch;
  // The most times that a queued CPU has seen the lock held and not reserved.
  uint64_t most_looks;
  uint64_t reservations;
};

// Attempts of a CPU before it joins the queue, and of the first in the queue before it reserves the lock.
#define LOCK_ATTEMPTS 2
#define LOCK_PATIENCE 3

// Makes the calling thread a CPU. `step` is called with `context` before each access to a shared word.
void lock_harness_begin(uint32_t cpu, struct lock_figures *figures, void (*step)(void *context), void *context);

// The lock as code that uses it takes it: by one attempt at 0, else by the slow path.
void lock_harness_lock(void);
void lock_harness_unlock(void);

#endif
