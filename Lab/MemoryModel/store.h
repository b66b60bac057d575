// A set-associative store of keys: a cache is one of lines, a TLB one of translations.
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>

#define STORE_HINTS 64

enum replacement {
  // The key that was used longest ago goes.
  REPLACE_LRU,
  // A binary tree of bits for each set, which point away from what was used last; the ways are a power of two.
  REPLACE_TREE,
};

struct store {
  uint32_t sets, ways;
  enum replacement replacement;
  // generation << 44 | value << 1 | 1; a key of another generation is not there.
  uint64_t *keys;
  // For each slot when it was used (LRU), or for each set the bits of its tree.
  uint64_t *order;
  uint64_t clock;
  uint64_t generation;
  // The slot that was used last, and for each few low bits of a value the slot where it was found last: where to look first.
  uint32_t latest, found[STORE_HINTS];
};

// Makes an empty store; exits if there is no memory.
void store_make(struct store *store, uint32_t entries, uint32_t ways, enum replacement replacement);
void store_destroy(struct store *store);
// Empties a store without a visit of its slots.
void store_empty(struct store *store);
// Whether a value below 2^43 is there; then it counts as used. `place` chooses the set.
bool store_use(struct store *store, uint64_t place, uint64_t value);
// Puts a value in that is not there; tells whether another had to go, and which.
bool store_put(struct store *store, uint64_t place, uint64_t value, uint64_t *evicted);
// Takes a value out if it is there.
void store_remove(struct store *store, uint64_t place, uint64_t value);
// Takes out all values that are not wanted any more.
void store_keep(struct store *store, bool (*is_wanted)(uint64_t value, void *context), void *context);

#endif
