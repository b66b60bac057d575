// The A64 instructions that the model has to know (Arm ARM C4.1).
#ifndef INSTRUCTIONS_H
#define INSTRUCTIONS_H

#include <stdbool.h>
#include <stdint.h>

// BL and BLR.
static inline bool is_call(uint32_t word) { return word >> 26 == 0x25 || (word & 0xfffffc1f) == 0xd63f0000; }

// DSB, with any option.
static inline bool is_synchronization_barrier(uint32_t word) { return (word & 0xfffff0ff) == 0xd503309f; }

// TLBI: SYS with CRn = 8.
static inline bool is_invalidation(uint32_t word) { return (word & 0xfff8f000) == 0xd5088000; }

// TLBI VMALLE1, VMALLE1IS and VMALLE1OS: op1 = 0, CRm = 7, 3 or 1, op2 = 0.
static inline bool is_invalidation_of_all(uint32_t word) {
  uint32_t range = word >> 8 & 15;
  return is_invalidation(word) && (word >> 16 & 7) == 0 && (word >> 5 & 7) == 0 &&
         (range == 7 || range == 3 || range == 1);
}

static inline bool is_hint(uint32_t word, uint32_t number) { return word == (0xd503201f | number << 5); }

#endif
