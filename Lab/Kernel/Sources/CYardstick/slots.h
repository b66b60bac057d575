// The stacks' addresses, entries and markers, the slots of groups, and the depot. Comments say what needs the lock.
#ifndef YARDSTICK_SLOTS_H
#define YARDSTICK_SLOTS_H

#include "lists.h"

// A stack's word is its base, with its properties in the 12 bits below.
#define NODE_BITS 0x1ffull
#define CHARGED (1ull << 9)
#define GROWS (1ull << 10)
#define MIXED (1ull << 11)
#define TAG(word) ((word) & 0xfff)
#define BASE(word) ((word) & ~0xfffull)
#define MARKER(word, state) (TAG(word) << 12 | (uint64_t)(state) << 1)
enum { LIVE = 1, CACHED = 2, RETIRED_STACK = 3 };

static inline struct cpu_record *record_of(struct control *control, uint64_t cpu) {
  return (struct cpu_record *)(control->first_record + cpu * (uint64_t)control->cpu_stride);
}

static inline int64_t *mapped_frames(struct cpu_record *record, uint64_t node) {
  return (int64_t *)record - 1 - node;
}

static inline uint64_t entries_of(struct control *control, uint64_t base) {
  uint64_t distance = base - control->first_window;
  struct group *group = control->groups + (distance >> control->group_span_shift);
  return group->location + ((distance & control->group_span_mask) >> 9);
}

static inline uint64_t base_of(struct control *control, uint64_t slot) {
  return control->first_stack + (slot << control->stride_shift);
}

// Where a stack's marker lies in the linear map.
static inline uint64_t marker_of(struct control *control, uint64_t stack) {
  return entries_of(control, stack) + control->marker_offset;
}

static inline void mark(struct control *control, uint64_t stack, int state) {
  if (control->marker_offset == 0) return;
  write_linear_entry(marker_of(control, stack), MARKER(stack, state));
}

// The demand for cached stacks: how far stacks in use rose above an earlier low. The lock is held.

static inline void take_demand(struct shared *shared, int64_t count) {
  shared->taken += count;
  int64_t rise = shared->taken - shared->lowest;
  if (rise > shared->rise) shared->rise = rise;
}

static inline void put_demand(struct shared *shared, int64_t count) {
  shared->taken -= count;
  if (shared->taken < shared->lowest) shared->lowest = shared->taken;
}

// The list of groups with a free slot. The lock is held.

static inline void unlink_group(struct yardstick *self, int64_t index) {
  struct group *groups = CONTROL(self)->groups;
  int32_t next = groups[index].next, previous = groups[index].previous;
  if (next >= 0) groups[next].previous = previous;
  if (previous >= 0) {
    groups[previous].next = next;
  } else {
    SHARED(self)->first_partial = next;
  }
  groups[index].next = -1;
  groups[index].previous = -1;
}

static inline void link_group(struct yardstick *self, int64_t index) {
  struct group *groups = CONTROL(self)->groups;
  int32_t first = SHARED(self)->first_partial;
  groups[index].previous = -1;
  groups[index].next = first;
  if (first >= 0) groups[first].previous = (int32_t)index;
  SHARED(self)->first_partial = (int32_t)index;
}

__attribute__((noinline)) static void close_group(struct yardstick *self, struct group *group, int64_t index) {
  unlink_group(self, index);
  group->state = FULL;
}

static inline uint64_t take_first_slot(struct yardstick *self, struct group *group, int64_t index) {
  uint64_t free = group->free, left = free & (free - 1);
  group->free = left;
  if (left == 0) close_group(self, group, index);
  return (uint64_t)__builtin_ctzll(free);
}

static inline void put_slot(struct yardstick *self, uint64_t slot) {
  struct control *control = CONTROL(self);
  write_entry(entries_of(control, base_of(control, slot)) + (uint64_t)control->marker_distance, 0);
  int64_t index = (int64_t)(slot >> control->group_shift);
  struct group *group = control->groups + index;
  group->free |= 1ull << (slot & ((1ull << control->group_shift) - 1));
  SHARED(self)->used_slots--;
  if (group->state == FULL) {
    group->state = PARTIAL;
    link_group(self, index);
  }
}

// The depot: freed stacks that CPUs share. The lock is held.

static inline int64_t depot_bound(struct yardstick *self) {
  struct shared *shared = SHARED(self);
  int64_t wanted = shared->rise > shared->remembered ? shared->rise : shared->remembered;
  return wanted < CONTROL(self)->depot_limit ? wanted : CONTROL(self)->depot_limit;
}

static inline void put_into_depot(struct yardstick *self, uint64_t stack) {
  CONTROL(self)->depot[SHARED(self)->depot_count++] = stack;
}

// Completes this CPU's accesses, so that other CPUs see the dirty state of stacks passed on.
static inline void complete_before_passing_on(struct control *control) {
  if (control->cleared_bytes == 0) complete_accesses();
}

// Moves a magazine's oldest stacks to the depot if there is room for them.
static inline int exchange_full(struct yardstick *self, struct cpu_record *record) {
  int64_t count = record->count, moved = CONTROL(self)->exchange;
  if (moved <= 0 || moved > count || SHARED(self)->depot_count + moved > depot_bound(self)) return 0;
  complete_before_passing_on(CONTROL(self));
  for (int64_t index = 0; index < moved; index++) put_into_depot(self, record->magazine[index]);
  for (int64_t index = moved; index < count; index++) record->magazine[index - moved] = record->magazine[index];
  record->count = count - moved;
  return 1;
}

// Takes a stack out of the depot, which is not empty, and some more for the magazine.
static inline uint64_t take_from_depot(struct yardstick *self, struct cpu_record *record) {
  struct control *control = CONTROL(self);
  struct shared *shared = SHARED(self);
  int64_t before = shared->depot_count, left = before, cached = record->count;
  uint64_t stack = control->depot[--left];
  int64_t limit = get(&record->limit);
  for (int64_t more = control->exchange - 1; more > 0 && left > 0 && cached < limit; more--) {
    record->magazine[cached++] = control->depot[--left];
  }
  record->count = cached;
  shared->depot_count = left;
  take_demand(shared, before - left);
  return stack;
}

#endif
