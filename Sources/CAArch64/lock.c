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

void ca_lock_contended(uint64_t *lock) {
  uint64_t start = ca_read_cntvct_el0();
  take_contended_lock(lock);
  struct ca_cpu *cpu = ca_this_cpu();
  cpu->lock_waits += 1;
  cpu->lock_wait_ticks += ca_read_cntvct_el0() - start;
}

#endif
