// The translation tables of the modelled machine, read where they lie in its memory.
#ifndef TABLES_H
#define TABLES_H

#include <stdbool.h>
#include <stdint.h>

// Physical memory from `base` on.
struct memory {
  uint8_t *bytes;
  uint64_t base, byte_count;
};

// The tables of the upper half of addresses; pages of 4 KiB.
struct tables {
  struct memory memory;
  uint64_t root;
  uint32_t address_bits;
};

// How an address is mapped: by a descriptor of level 1 (1 GiB), 2 (2 MiB) or 3 (4 KiB), and where the descriptors of the levels
// on the way to it lie.
struct translation {
  uint64_t address, physical;
  uint8_t first_level, level;
  uint64_t descriptors[4];
};

// log2 of what a descriptor of a level maps.
static inline uint32_t level_shift(uint32_t level) { return 12 + 9 * (3 - level); }

// The number of the page or block of an address at a level, without the bits that all kernel addresses have.
static inline uint64_t piece_number(uint64_t address, uint32_t shift) {
  return (address & ((1ull << 48) - 1)) >> shift;
}

// Translates an address of the upper half; tells whether it is mapped to memory.
bool tables_translate(const struct tables *tables, uint64_t address, struct translation *result);
// Whether a descriptor of this level leads from an address to a table of the next one.
bool tables_lead_on(const struct tables *tables, uint64_t address, uint32_t level);

#endif
