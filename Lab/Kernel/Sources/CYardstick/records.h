// The records, laid out as the Swift allocators lay theirs out.
#ifndef YARDSTICK_RECORDS_H
#define YARDSTICK_RECORDS_H

#include <stdint.h>

enum { FREE = 2, USED = 3, INSIDE = 4, LISTED = 5 };
enum { LIST_LIMIT = 32, LIST_BATCH = 16, BATCH_ORDER = 4, FRAMES = 1024, ORDERS = 11 };
enum { MAGAZINE = 8, RING = 256, BATCH = 64, BUFFER = 16, SLOTS_PER_FREE = 2 };
enum { PARTIAL = 2, FULL = 3 };
enum { LINEAR = 0, VMALLOC = 1, GROWING = 2 };

#define NO_INDEX UINT32_MAX
#define NO_FRAME UINT64_MAX
// The entry of a writable, non-executable kernel page, without its frame.
#define ATTRIBUTES (1ull << 54 | 1ull << 53 | 1ull << 10 | 3ull << 8 | 3)
// Writable-clean: DBM is set, and AP[2], which the CPU's first store clears.
#define CLEAN (1ull << 51 | 1ull << 7)

struct frame_record {
  uint32_t next, previous, tag;
};

struct cpu_lists {
  _Alignas(64) uint64_t ready;  // count << 32 | first
  uint64_t zeroed;
  int64_t home;
  uint64_t padding[13];
};

struct node_record {
  _Alignas(64) uint64_t lock;
  uint64_t non_empty_orders;
  int64_t free_frames, total_frames;
  uint32_t free_blocks[ORDERS];
  uint32_t list_heads;
  uint64_t padding[6];
  uint64_t pool;
  int64_t pool_limit;
  uint64_t pool_padding[6];
};

struct range_record {
  uint64_t first_frame, frame_count, bias;
  int64_t node;
};

struct frames {
  struct frame_record *records;
  struct node_record *nodes;
  struct cpu_lists *cpu_lists;
  struct range_record *ranges, *ranges_end;
  int64_t node_count, total_frames, listed_cpus;
};

struct group {
  uint64_t location, free;
  int32_t next, previous;
  uint32_t state, unused;
};

struct cpu_record {
  int64_t count;
  uint32_t limit, owes_completion;
  uint64_t home_tag;
  uint32_t cold_allocations, overflows;
  uint64_t magazine[MAGAZINE];
};

// A CPU's share: its mapped frames, of node 0 just below the record, and the record, with the magazine at its end.
struct cpu_share {
  _Alignas(64) int64_t mapped_frames;
  struct cpu_record record;
};

// The data under the allocator's lock, besides slots and the depot.
struct shared {
  _Alignas(64) uint64_t lock;
  int32_t first_partial, first_bare_table, first_untouched_table, used_slots;
  uint32_t drained, invalidated, retired;
  uint8_t is_invalidating;
  uint64_t lowest_retired, highest_retired;
  int64_t depot_count;
  int64_t taken, lowest, rise, remembered;
  int64_t refill_waiter_count;
};

// The constants that the paths use. Those of the most frequent operations share the first line.
struct control {
  _Alignas(64) char *first_record;
  int64_t cpu_stride;
  uint64_t first_window;
  struct group *groups;
  uint64_t marker_offset;
  uint32_t group_span_mask, group_span_shift, cleared_bytes, first_initial_page;
  int32_t growth_distance;
  uint8_t is_uniform;

  _Alignas(64) int64_t size;
  int64_t stride_shift, capacity, group_shift, depot_limit;
  uint64_t first_stack;
  int64_t marker_distance;
  int64_t first_initial_entry, stack_entry_bytes, initial_bytes;
  uint64_t mapped_bits;
  int64_t initial_pages, initial_entry_offset, initial_marker_distance, window_entry_shift;
  uint8_t strategy;
  uint64_t cached_tag;
  int64_t exchange, cached_stacks, batch, node_count;
  uint32_t ring_mask;
  uint64_t *depot;
  uint64_t lost_stacks, refused_frees;
};

// One block of memory, as in Swift, where the allocator's value holds only its address.
struct metadata {
  struct control control;
  struct shared shared;
  _Alignas(64) uint32_t ring[RING];
};

struct yardstick {
  struct frames frames;
  struct metadata *metadata;
};

#define CONTROL(self) (&(self)->metadata->control)
#define SHARED(self) (&(self)->metadata->shared)

static inline int64_t count_of(uint64_t word) { return (int64_t)(word >> 32); }
static inline uint32_t first_of(uint64_t word) { return (uint32_t)word; }
static inline uint64_t list_word(uint32_t first, int64_t count) { return (uint64_t)count << 32 | first; }

static inline uint32_t get(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline void set(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
static inline uint64_t value_of(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline void set_value(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
static inline int replace(uint64_t *word, uint64_t expected, uint64_t value) {
  return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static inline uint32_t with_state(uint32_t tag, uint32_t state, uint32_t order, uint32_t purpose) {
  return (tag & 0xffff0000u) | purpose << 8 | state << 4 | order;
}

#endif
