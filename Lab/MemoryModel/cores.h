// The caches and TLBs of the cores that are modelled.
#ifndef CORES_H
#define CORES_H

#include "store.h"

#define LINE_BYTES 64

struct cache_geometry {
  uint32_t bytes, ways;
  enum replacement replacement;
};

struct core {
  const char *name;
  struct cache_geometry data, code, second;
  // Entries of the first-level TLBs, which are fully associative.
  uint32_t data_translations, code_translations;
  // The largest piece of memory, as a power of two, that an entry of them holds, for mappings of level 1, 2 and 3.
  uint8_t data_piece[4], code_piece[4];
  // The second-level TLB.
  uint32_t translations, translation_ways;
  // Entries of a cache of table addresses; 0: they are entries of the second-level TLB.
  uint32_t table_addresses;
};

#define CORE_COUNT 3
extern const struct core cores[CORE_COUNT];

#endif
