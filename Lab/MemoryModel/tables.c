// Reads translation tables: VMSAv8-64, stage 1, granule of 4 KiB (Arm ARM D8.3).
//
//   39 bits: level 1 [38:30] --> level 2 [29:21] --> level 3 [20:12]; with 48 bits, level 0 [47:39] comes first
//
//   bit 0 valid; bit 1 table (levels 0 to 2) or page (level 3), else block; bits 47 to 12 the address
#include "tables.h"

#include <string.h>

#define ADDRESS_MASK 0x0000fffffffff000ull

static bool read_descriptor(const struct memory *memory, uint64_t address, uint64_t *descriptor) {
  if (address < memory->base || address - memory->base > memory->byte_count - 8) return false;
  memcpy(descriptor, memory->bytes + (address - memory->base), 8);
  return true;
}

static uint64_t descriptor_address(uint64_t table, uint64_t address, uint32_t level) {
  return table + (address >> level_shift(level) & 511) * 8;
}

bool tables_translate(const struct tables *tables, uint64_t address, struct translation *result) {
  uint64_t table = tables->root;
  uint8_t level = tables->address_bits > 39 ? 0 : 1;
  result->address = address;
  result->first_level = level;
  for (;; level++) {
    uint64_t descriptor;
    result->descriptors[level] = descriptor_address(table, address, level);
    if (!read_descriptor(&tables->memory, result->descriptors[level], &descriptor) || !(descriptor & 1)) return false;
    if (level == 3 || !(descriptor & 2)) {
      if (level == 0 || (level == 3 && !(descriptor & 2))) return false;
      uint64_t offset = (1ull << level_shift(level)) - 1;
      result->level = level;
      result->physical = (descriptor & ADDRESS_MASK & ~offset) | (address & offset);
      return true;
    }
    table = descriptor & ADDRESS_MASK;
  }
}

bool tables_lead_on(const struct tables *tables, uint64_t address, uint32_t level) {
  uint64_t table = tables->root;
  for (uint32_t at = tables->address_bits > 39 ? 0 : 1; at <= level; at++) {
    uint64_t descriptor;
    if (!read_descriptor(&tables->memory, descriptor_address(table, address, at), &descriptor)) return false;
    if ((descriptor & 3) != 3) return false;
    table = descriptor & ADDRESS_MASK;
  }
  return true;
}
