// A set-associative store of keys, and which of them goes when another comes.
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GENERATIONS (1ull << 20)
#define VALUE(key) (((key) & ((1ull << 44) - 1)) >> 1)

static void *zeroed(size_t count) {
  void *memory = calloc(count, sizeof(uint64_t));
  if (memory) return memory;
  fprintf(stderr, "memory model: no memory for %zu words\n", count);
  exit(1);
}

void store_make(struct store *store, uint32_t entries, uint32_t ways, enum replacement replacement) {
  memset(store, 0, sizeof *store);
  store->ways = ways;
  store->sets = entries / ways;
  store->replacement = replacement;
  store->keys = zeroed(entries);
  store->order = zeroed(replacement == REPLACE_LRU ? entries : store->sets);
}

void store_destroy(struct store *store) {
  free(store->keys);
  free(store->order);
}

void store_empty(struct store *store) {
  if (++store->generation < GENERATIONS) return;
  store->generation = 0;
  memset(store->keys, 0, (size_t)store->sets * store->ways * sizeof *store->keys);
}

static uint64_t key_of(const struct store *store, uint64_t value) {
  return store->generation << 44 | value << 1 | 1;
}

static bool is_taken(const struct store *store, uint32_t slot) {
  uint64_t key = store->keys[slot];
  return (key & 1) && key >> 44 == store->generation;
}

// Has each bit on the way to a slot point to the other side.
static void note_use(struct store *store, uint32_t slot) {
  store->latest = slot;
  if (store->replacement == REPLACE_LRU) {
    store->order[slot] = ++store->clock;
    return;
  }
  uint64_t *tree = &store->order[slot / store->ways];
  uint32_t way = slot % store->ways, node = 1;
  for (uint32_t half = store->ways / 2; half > 0; half /= 2) {
    uint32_t is_right = (way & half) != 0;
    *tree = (*tree & ~(1ull << node)) | (uint64_t)!is_right << node;
    node = 2 * node + is_right;
  }
}

static uint32_t victim(const struct store *store, uint32_t first) {
  for (uint32_t way = 0; way < store->ways; way++) {
    if (!is_taken(store, first + way)) return first + way;
  }
  if (store->replacement == REPLACE_LRU) {
    uint32_t oldest = first;
    for (uint32_t way = 1; way < store->ways; way++) {
      if (store->order[first + way] < store->order[oldest]) oldest = first + way;
    }
    return oldest;
  }
  uint64_t tree = store->order[first / store->ways];
  uint32_t node = 1;
  while (node < store->ways) node = 2 * node + (tree >> node & 1);
  return first + (node - store->ways);
}

bool store_use(struct store *store, uint64_t place, uint64_t value) {
  uint64_t key = key_of(store, value);
  // What was used last is used again, which changes nothing.
  if (store->keys[store->latest] == key) return true;
  uint32_t *found = &store->found[place % STORE_HINTS];
  if (store->keys[*found] == key) {
    note_use(store, *found);
    return true;
  }
  uint32_t first = (uint32_t)(place % store->sets) * store->ways;
  for (uint32_t way = 0; way < store->ways; way++) {
    if (store->keys[first + way] != key) continue;
    *found = first + way;
    note_use(store, *found);
    return true;
  }
  return false;
}

bool store_put(struct store *store, uint64_t place, uint64_t value, uint64_t *evicted) {
  uint32_t slot = victim(store, (uint32_t)(place % store->sets) * store->ways);
  bool was_taken = is_taken(store, slot);
  if (was_taken) *evicted = VALUE(store->keys[slot]);
  store->keys[slot] = key_of(store, value);
  note_use(store, slot);
  return was_taken;
}

void store_remove(struct store *store, uint64_t place, uint64_t value) {
  uint32_t first = (uint32_t)(place % store->sets) * store->ways;
  for (uint32_t way = 0; way < store->ways; way++) {
    if (store->keys[first + way] == key_of(store, value)) store->keys[first + way] = 0;
  }
}

void store_keep(struct store *store, bool (*is_wanted)(uint64_t value, void *context), void *context) {
  for (uint32_t slot = 0; slot < store->sets * store->ways; slot++) {
    if (is_taken(store, slot) && !is_wanted(VALUE(store->keys[slot]), context)) store->keys[slot] = 0;
  }
}
