// The slow path of a spin lock, for a CPU that finds it taken.
//
//   63          32 31                    16 15       8 7        0        node of a CPU, a cache line:
//  +--------------+------------------------+----------+----------+      +------------------+------+
//  |      0       | last in the queue, + 1 | reserved |   held   |      | next in the queue| turn |
//  +--------------+------------------------+----------+----------+      +------------------+------+
//
// First the CPU tries for a while to take the lock whenever it is free. Then it joins the end of a queue. The first in the
// queue takes the lock when it is free, and passes its turn to the next. If it has been overtaken too often, it reserves
// the lock: then no other CPU tries.
//
// A pure queue would be fair at every step. But when a hypervisor or the host of an emulator has stopped the CPU whose
// turn it is, no CPU could take the lock until that one continues. So a CPU waits for one that doesn't hold the lock only
// if that one has waited long.
//
// A CPU waits in one queue at most, since interrupts are off and the growth of a stack takes no lock: one node for each.
//
// A wait ends when another CPU stores to the word that the last `load_and_watch` has read. A store of the CPU itself may
// end the watch without an event, so there is none between `load_and_watch` and `wait_for_store`.
//
// The including file defines MAXIMUM_CPUS and the functions used here on shared words: lock.c for the CPU,
// Tests/LockHarness for a host.
//
// Sources: J. M. Mellor-Crummey, M. L. Scott, "Algorithms for scalable synchronization on shared-memory
// multiprocessors", ACM TOCS 9(1), 1991; the hybrid of queue and unfair lock is Linux's for virtual machines.

struct node {
  _Alignas(64) uint32_t next;  // the CPU that comes after this one, + 1
  uint32_t turn;               // whether this one is the first
};
static struct node nodes[MAXIMUM_CPUS];

#define HELD 0xffu
#define RESERVED 0x100u
#define LAST(number) ((uint32_t)(number) << 16)

// Attempts of a CPU before it joins the queue, and of the first in the queue before it reserves the lock.
#ifndef ATTEMPTS
#define ATTEMPTS 64
#define PATIENCE 1024
#endif

static inline uint32_t wait_for_number(const uint32_t *address) {
  uint32_t value;
  while ((value = load_and_watch(address)) == 0) wait_for_store();
  return value;
}

static inline void take_contended_lock(uint64_t *lock) {
  uint32_t *word = (uint32_t *)lock;  // little endian: all but the zeroes
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    uint32_t value = load_and_watch(word);
    if (value & RESERVED) break;
    if (value & HELD) {
      wait_for_store();
    } else if (replace(word, value, value | 1)) {
      return;
    }
  }

  uint32_t number = cpu_number() + 1;
  struct node *node = &nodes[number - 1];
  store(&node->next, 0);
  store(&node->turn, 0);
  uint32_t previous = exchange((uint16_t *)word + 1, (uint16_t)number);
  if (previous != 0) {
    store_release(&nodes[previous - 1].next, number);
    wait_for_number(&node->turn);
  }

  for (uint32_t attempt = 0;; attempt++) {
    uint32_t value = load_and_watch(word);
    if (value & HELD) {
      if (attempt >= PATIENCE && !(value & RESERVED)) {
        set_bits(word, RESERVED);
        continue;
      }
      wait_for_store();
    } else if ((value & ~RESERVED) == LAST(number)) {
      if (replace(word, value, 1)) return;
    } else if (replace(word, value, (value & ~RESERVED) | 1)) {
      break;
    }
  }
  // The CPU that has queued behind this one stores its number there, if it hasn't yet.
  uint32_t next = wait_for_number(&node->next);
  store_release(&nodes[next - 1].turn, 1);
}
