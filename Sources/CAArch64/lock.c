// What a CPU does that finds a spin lock taken.
//
//   63          32 31                    16 15       8 7        0        node of a CPU, a cache line:
//  +--------------+------------------------+----------+----------+      +------------------+------+
//  |      0       | last in the queue, + 1 | reserved |   held   |      | next in the queue| turn |
//  +--------------+------------------------+----------+----------+      +------------------+------+
//
// First it tries for a while to take the lock whenever nobody holds it. Then it goes to the end of a queue. Who is first
// there takes the lock when nobody holds it, and gives its turn to the next. If it has been overtaken too often, it
// reserves the lock: then nobody else tries.
//
// A pure queue would be fair at every step, but when the host of an emulator or hypervisor has stopped the CPU whose turn
// it is, the lock would be of use to nobody until it goes on. So no CPU waits for another that doesn't hold the lock,
// but for one that has waited long.
//
// A CPU waits in one queue at most, since interrupts are off and the growth of a stack takes no lock: one node for each.
//
// Sources: J. M. Mellor-Crummey, M. L. Scott, "Algorithms for scalable synchronization on shared-memory
// multiprocessors", ACM TOCS 9(1), 1991; the hybrid of queue and unfair lock is Linux's for virtual machines.
#include "CAArch64.h"

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

struct node {
  _Alignas(64) uint32_t next;  // the CPU that comes after this one, + 1
  uint32_t turn;               // whether this one is the first
};
static struct node nodes[CA_MAXIMUM_CPUS];

#define HELD 0xffu
#define RESERVED 0x100u
#define LAST(number) ((uint32_t)(number) << 16)

// How often a CPU looks at the lock before it goes to the queue, and the first in the queue before it reserves the lock.
#define ATTEMPTS 64
#define PATIENCE 1024

// A load after which WFE waits until another CPU stores to the same line.
static inline uint32_t load_and_watch(const uint32_t *address) {
  uint32_t value;
  __asm__ volatile("ldaxr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
  return value;
}

static inline int replace(uint32_t *word, uint32_t expected, uint32_t value) {
  return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline uint32_t wait_for_number(const uint32_t *address) {
  uint32_t value;
  while ((value = load_and_watch(address)) == 0) ca_wait_for_event();
  return value;
}

void ca_lock_contended(uint64_t *lock) {
  uint32_t *word = (uint32_t *)lock;  // little endian: all but the zeroes
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    uint32_t value = load_and_watch(word);
    if (value & RESERVED) break;
    if (value & HELD) {
      ca_wait_for_event();
    } else if (replace(word, value, value | 1)) {
      return;
    }
  }

  uint32_t number = (uint32_t)ca_cpu_number() + 1;
  struct node *node = &nodes[number - 1];
  node->next = 0;
  node->turn = 0;
  uint32_t previous = __atomic_exchange_n((uint16_t *)word + 1, (uint16_t)number, __ATOMIC_ACQ_REL);
  if (previous != 0) {
    __atomic_store_n(&nodes[previous - 1].next, number, __ATOMIC_RELEASE);
    wait_for_number(&node->turn);
  }

  for (int attempt = 0;; attempt++) {
    uint32_t value = load_and_watch(word);
    if (value & HELD) {
      if (attempt == PATIENCE) __atomic_fetch_or(word, RESERVED, __ATOMIC_RELAXED);
      ca_wait_for_event();
    } else if ((value & ~RESERVED) == LAST(number)) {
      if (replace(word, value, 1)) return;
    } else if (replace(word, value, (value & ~RESERVED) | 1)) {
      break;
    }
  }
  // Whoever has put itself behind this CPU is about to say so, if it hasn't yet.
  uint32_t next = wait_for_number(&node->next);
  __atomic_store_n(&nodes[next - 1].turn, 1, __ATOMIC_RELEASE);
}

#endif
