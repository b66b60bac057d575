// Freeing of stacks: into the magazine, into the depot, or by retirement to their frames' lists.
#ifndef YARDSTICK_FREE_H
#define YARDSTICK_FREE_H

#include "retire.h"

__attribute__((noinline)) static void report_lost(struct control *control) {
  __atomic_fetch_add(&control->lost_stacks, 1, __ATOMIC_RELAXED);
}

// In Swift: the cases of group charges, contiguous stacks, and magazines that another CPU wants emptied. The yardstick never
// makes such a stack, so this one counts as lost.
__attribute__((noinline)) static void free_unsupported(struct yardstick *self) { report_lost(CONTROL(self)); }

// Counts the frames of a stack page by page.
__attribute__((noinline)) static void account_pages(struct yardstick *self, uint64_t stack, int64_t sign,
                                                    struct cpu_record *record) {
  struct control *control = CONTROL(self);
  uint64_t entries = entries_of(control, BASE(stack));
  for (int64_t page = 0; page < control->size >> 12; page++) {
    uint64_t entry = read_entry(entries + (uint64_t)page * 8);
    if (entry == 0) continue;
    uint64_t node = control->node_count == 1 ? 0 : (uint64_t)self->frames.ranges->node;
    *mapped_frames(record, node) += sign;
  }
}

static inline void give_up(struct yardstick *self, uint64_t stack) {
  struct control *control = CONTROL(self);
  struct cpu_record *record = record_of(control, current_cpu());
  if (stack & (GROWS | MIXED)) {
    account_pages(self, stack, -1, record);
  } else {
    *mapped_frames(record, stack & NODE_BITS) -= control->size >> 12;
  }
  if (control->strategy == LINEAR) return free_unsupported(self);
  retire(self, stack);
}

static inline int is_as_when_made(struct control *control, uint64_t stack) {
  if (!(stack & GROWS)) return 1;
  return read_linear_entry(marker_of(control, stack) + (uint64_t)(int64_t)control->growth_distance) == 0;
}

__attribute__((noinline)) static void free_to_depot_or_retire(struct yardstick *self, uint64_t stack,
                                                              struct cpu_record *record) {
  struct control *control = CONTROL(self);
  struct shared *shared = SHARED(self);
  if (stack & CHARGED) return free_unsupported(self);
  if (get(&record->limit) < control->cached_stacks) return free_unsupported(self);
  int may_cache = is_as_when_made(control, stack);
  int64_t exchange = control->exchange;
  uint64_t state = lock(&shared->lock);
  if (may_cache && exchange_full(self, record)) {
    put_demand(shared, exchange);
    unlock(&shared->lock, state);
    record->magazine[record->count++] = stack;
    mark(control, stack, CACHED);
    return;
  }
  if (may_cache && exchange == 0 && shared->depot_count < depot_bound(self)) {
    complete_before_passing_on(control);
    mark(control, stack, CACHED);
    put_into_depot(self, stack);
    put_demand(shared, 1);
    unlock(&shared->lock, state);
    return;
  }
  put_demand(shared, 1);
  unlock(&shared->lock, state);
  record->overflows++;
  give_up(self, stack);
}

// The magazine is full, or the stack cannot be cached as it is.
__attribute__((noinline)) static void free_uncached(struct yardstick *self, uint64_t stack,
                                                    struct cpu_record *record) {
  if (CONTROL(self)->strategy == LINEAR) return free_unsupported(self);
  free_to_depot_or_retire(self, stack, record);
}

// Marks a stack as cached if it has no more pages than at first, is charged to no group, and is not contiguous.
static inline int mark_cached(struct control *control, uint64_t stack) {
  if (!(stack & GROWS) && control->marker_offset == 0) return 0;
  if (stack & CHARGED) return 0;
  uint64_t marker = marker_of(control, stack);
  if ((stack & GROWS) && read_linear_entry(marker + (uint64_t)(int64_t)control->growth_distance) != 0) return 0;
  write_linear_entry(marker, MARKER(stack, CACHED));
  return 1;
}

static inline void free_stack(struct yardstick *self, struct yardstick_stack owned) {
  struct control *control = CONTROL(self);
  if (owned.owner != control) return report_lost(control);
  uint64_t stack = owned.word;
  uint64_t interrupts = interrupts_off();
  struct cpu_record *record = record_of(control, current_cpu());
  int64_t count = record->count;
  if (count < get(&record->limit) && mark_cached(control, stack)) {
    record->magazine[count] = stack;
    record->count = count + 1;
  } else {
    free_uncached(self, stack, record);
  }
  restore(interrupts);
}

#endif
