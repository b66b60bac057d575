// QEMU's `virt` board: what Swift has no words for.
#pragma once

#if defined(__aarch64__)
#include <stdint.h>

static inline uint64_t board_disable_interrupts(void) {
  uint64_t state;
  __asm__ volatile("mrs %0, daif\n\tmsr daifset, #3" : "=r"(state)::"memory");
  return state;
}
static inline void board_restore_interrupts(uint64_t state) { __asm__ volatile("msr daif, %0" ::"r"(state) : "memory"); }
static inline void board_publish(void) { __asm__ volatile("dsb ishst\n\tisb" ::: "memory"); }
static inline void board_complete(void) { __asm__ volatile("dsb ish" ::: "memory"); }
static inline void board_invalidate_all(void) {
  __asm__ volatile("dsb ishst\n\ttlbi vmalle1is\n\tdsb ish\n\tisb" ::: "memory");
}
// Whether the MMU translates an address for a write at EL1.
static inline uint64_t board_is_mapped(uintptr_t address) {
  uint64_t result;
  __asm__ volatile("at s1e1w, %1\n\tisb\n\tmrs %0, par_el1" : "=r"(result) : "r"(address) : "memory");
  return !(result & 1);
}

uintptr_t board_kernel_table(void);
uintptr_t board_image_end(void);
void board_put(uint8_t byte);
void board_exit(uint64_t code) __attribute__((noreturn));
#endif
