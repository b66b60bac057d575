// The yardstick's machine: that of the kernel, with the same instructions; on a host, the least that lets it compile and run:
// one CPU, and the process's memory as physical memory.
#ifndef YARDSTICK_MACHINE_H
#define YARDSTICK_MACHINE_H

#include <stdint.h>

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

#include "CAArch64.h"

static inline uint64_t interrupts_off(void) { return ca_disable_interrupts(); }
static inline void restore(uint64_t state) { ca_restore_interrupts(state); }
static inline uint64_t lock(uint64_t *word) {
  uint64_t state = ca_disable_interrupts();
  ca_this_cpu()->lock_acquisitions++;
  ca_lock(word);
  return state;
}
static inline void unlock(uint64_t *word, uint64_t state) {
  ca_unlock(word);
  ca_restore_interrupts(state);
}
static inline uint64_t current_cpu(void) { return ca_cpu_number(); }
static inline uint64_t current_node(void) { return ca_this_cpu()->node; }
static inline uint64_t read_linear_entry(uint64_t at) { return ca_load(at); }
static inline void write_linear_entry(uint64_t at, uint64_t entry) { ca_store(at, entry); }
static inline uint64_t read_entry(uint64_t at) { return ca_load(at + ca_machine()->linear_map_offset); }
static inline void write_entry(uint64_t at, uint64_t entry) { ca_store(at + ca_machine()->linear_map_offset, entry); }
static inline void publish(void) {
  ca_dsb_ishst();
  ca_isb();
}
static inline void complete_accesses(void) { ca_dsb_ish(); }
static inline void clear(uint64_t address, uint64_t byte_count) {
  if (byte_count > 0) ca_clear_pages(address, byte_count);
}
static inline uint64_t linear(uint64_t physical) { return physical + ca_machine()->linear_map_offset; }
static inline void invalidate(uint64_t first, uint64_t end) {
  ca_dsb_ishst();
  uint64_t count = (end - first + 4095) >> 12;
  uint64_t issued = count > 512 ? 1 : count;
  if (count > 512) {
    ca_tlbi_vmalle1is();
  } else {
    uint64_t operand = (first >> 12) & 0xfffffffffffull;
    for (uint64_t left = count; left != 0; left--) ca_tlbi_vaale1is(operand++);
  }
  ca_dsb_ish();
  ca_isb();
  struct ca_cpu *cpu = ca_this_cpu();
  cpu->tlb_invalidations++;
  cpu->tlb_instructions += issued;
}

#else

static inline uint64_t interrupts_off(void) { return 0; }
static inline void restore(uint64_t state) { (void)state; }
static inline uint64_t lock(uint64_t *word) {
  while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE) != 0) {
  }
  return 0;
}
static inline void unlock(uint64_t *word, uint64_t state) {
  (void)state;
  __atomic_store_n(word, 0, __ATOMIC_RELEASE);
}
static inline uint64_t current_cpu(void) { return 0; }
static inline uint64_t current_node(void) { return 0; }
static inline uint64_t read_entry(uint64_t at) { return *(volatile uint64_t *)at; }
static inline void write_entry(uint64_t at, uint64_t entry) {
  *(volatile uint64_t *)at = entry;
}
static inline uint64_t read_linear_entry(uint64_t at) { return read_entry(at); }
static inline void write_linear_entry(uint64_t at, uint64_t entry) { write_entry(at, entry); }
static inline void publish(void) { __atomic_thread_fence(__ATOMIC_ACQ_REL); }
static inline void complete_accesses(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
// Stacks are not mapped on a host, so clearing is left out in both languages.
static inline void clear(uint64_t address, uint64_t byte_count) {
  (void)address;
  (void)byte_count;
}
static inline uint64_t linear(uint64_t physical) { return physical; }
static inline void invalidate(uint64_t first, uint64_t end) {
  (void)first;
  (void)end;
  publish();
}

#endif
#endif
