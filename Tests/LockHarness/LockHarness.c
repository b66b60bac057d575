// The functions that lock_queue.h uses, with a model of each CPU's exclusive monitor and event register.
//
// A store of the CPU itself ends its watch and sets no event: the architecture leaves open whether it does either, so code
// that relies on one of them is wrong (Arm ARM B2.17.2).
#include "LockHarness.h"

#include <stdbool.h>
#include <string.h>

#define MAXIMUM_CPUS 8
#define ATTEMPTS LOCK_ATTEMPTS
#define PATIENCE LOCK_PATIENCE

static struct {
  uintptr_t watched_line;  // 0: none
  bool has_event;
  bool is_queued;
  uint64_t looks;
} cpus[MAXIMUM_CPUS];

static _Thread_local struct {
  uint32_t number;
  struct lock_figures *figures;
  void (*step)(void *);
  void *context;
} this;

static uintptr_t line(const volatile void *address) { return (uintptr_t)address >> 6; }

static void step(void) { this.step(this.context); }

static void note_store(const volatile void *address) {
  for (uint32_t other = 0; other < MAXIMUM_CPUS; other++) {
    if (cpus[other].watched_line != line(address)) continue;
    cpus[other].watched_line = 0;
    if (other != this.number) cpus[other].has_event = true;
  }
}

static uint32_t load_and_watch(const uint32_t *address) {
  step();
  cpus[this.number].watched_line = line(address);
  if (cpus[this.number].is_queued && address == (const uint32_t *)&this.figures->word && (*address & 0x1ff) != 0) {
    cpus[this.number].looks += (*address & 0x100) == 0;
    if (cpus[this.number].looks > this.figures->most_looks) this.figures->most_looks = cpus[this.number].looks;
  }
  return *address;
}

static void wait_for_store(void) {
  step();
  if (!cpus[this.number].has_event && cpus[this.number].watched_line == 0) this.figures->waits_without_watch++;
  while (!cpus[this.number].has_event) step();
  cpus[this.number].has_event = false;
}

static int replace(uint32_t *word, uint32_t expected, uint32_t value) {
  step();
  cpus[this.number].watched_line = 0;
  if (*word != expected) return 0;
  *word = value;
  note_store(word);
  return 1;
}

static void set_bits(uint32_t *word, uint32_t bits) {
  step();
  if ((*word & bits) != bits) this.figures->reservations++;
  *word |= bits;
  note_store(word);
}

static uint16_t exchange(uint16_t *word, uint16_t value) {
  step();
  cpus[this.number].is_queued = true;
  cpus[this.number].looks = 0;
  uint16_t before = *word;
  *word = value;
  note_store(word);
  return before;
}

static void store(uint32_t *word, uint32_t value) {
  step();
  *word = value;
  note_store(word);
}

static void store_release(uint32_t *word, uint32_t value) { store(word, value); }

static uint32_t cpu_number(void) { return this.number; }

#include "../../Sources/CAArch64/lock_queue.h"

void lock_harness_begin(uint32_t cpu, struct lock_figures *figures, void (*step)(void *), void *context) {
  this.number = cpu;
  this.figures = figures;
  this.step = step;
  this.context = context;
  memset(&cpus[cpu], 0, sizeof(cpus[cpu]));
}

void lock_harness_lock(void) {
  step();
  if (this.figures->word == 0) {
    this.figures->word = 1;
    note_store(&this.figures->word);
  } else {
    take_contended_lock(&this.figures->word);
    cpus[this.number].is_queued = false;
  }
}

void lock_harness_unlock(void) {
  step();
  *(volatile uint8_t *)&this.figures->word = 0;
  note_store(&this.figures->word);
}
