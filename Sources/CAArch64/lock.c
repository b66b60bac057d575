// The spin lock's slow path on the CPU: lock_queue.h with exclusive loads, atomic exchanges and WFE.
#include "CAArch64.h"

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

// WFE ends when another CPU stores to the address that this CPU's last LDAXR has marked (Arm ARM D1.6.1, B2.17.3).
static inline uint32_t load_and_watch(const uint32_t *address) {
  uint32_t value;
  __asm__ volatile("ldaxr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
  return value;
}

static inline void wait_for_store(void) { ca_wait_for_event(); }

static inline int replace(uint32_t *word, uint32_t expected, uint32_t value) {
  return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline void set_bits(uint32_t *word, uint32_t bits) { __atomic_fetch_or(word, bits, __ATOMIC_RELAXED); }

static inline uint16_t exchange(uint16_t *word, uint16_t value) {
  return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
}

static inline void store(uint32_t *word, uint32_t value) { *word = value; }

static inline void store_release(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

static inline uint32_t cpu_number(void) { return (uint32_t)ca_cpu_number(); }

#define MAXIMUM_CPUS CA_MAXIMUM_CPUS
#include "lock_queue.h"

struct ca_lock_waits ca_lock_waits[CA_LOCK_WAIT_PLACES];

// Counts a wait for a lock, which the CPU has taken since: it alone writes the lock's counts. In a full table a further lock
// has no place, and its waits are those of no place.
//
// Never inlined: litmus tests name the function that waits.
static __attribute__((noinline)) void count_wait(uint64_t *lock, uint64_t ticks) {
  struct ca_cpu *cpu = ca_this_cpu();
  cpu->lock_waits += 1;
  cpu->lock_wait_ticks += ticks;
  uint64_t address = (uint64_t)lock;
  for (uint64_t distance = 0; distance < CA_LOCK_WAIT_PLACES; distance++) {
    // Locks have cache lines of their own.
    struct ca_lock_waits *place = &ca_lock_waits[((address >> 6) + distance) % CA_LOCK_WAIT_PLACES];
    uint64_t owner = __atomic_load_n(&place->lock, __ATOMIC_RELAXED);
    if (owner == 0 &&
        __atomic_compare_exchange_n(&place->lock, &owner, address, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
      owner = address;
    }
    if (owner == address) {
      place->waits += 1;
      place->ticks += ticks;
      return;
    }
  }
}

uint64_t ca_lock_node_bytes(void) { return sizeof(struct node); }

void ca_lock_contended(uint64_t *lock) {
  uint64_t start = ca_read_cntvct_el0();
  take_contended_lock(lock);
  count_wait(lock, ca_read_cntvct_el0() - start);
}

#endif
