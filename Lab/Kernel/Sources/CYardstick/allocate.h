// Allocation of stacks: from the magazine, from the depot, or new from frames in the CPU's lists.
#ifndef YARDSTICK_ALLOCATE_H
#define YARDSTICK_ALLOCATE_H

#include "slots.h"

static const struct yardstick_stack NO_STACK = {0, 0};

static inline struct yardstick_stack owned(struct control *control, uint64_t word) {
  return (struct yardstick_stack){word, control};
}

__attribute__((noinline)) static void clear_dirty_pages(struct control *control, uint64_t base) {
  complete_accesses();
  uint64_t entry = entries_of(control, base), end = entry + (uint64_t)control->stack_entry_bytes, page = base;
  do {
    if ((read_entry(entry) & CLEAN) != CLEAN) clear(page, 4096);
    entry += 8;
    page += 4096;
  } while (entry != end);
}

// Clears the pages of a cached stack that its former owner may have used.
static inline struct yardstick_stack cleared(struct control *control, uint64_t stack) {
  int64_t byte_count = control->cleared_bytes;
  if (byte_count > 0) {
    clear(BASE(stack) + (uint64_t)control->first_initial_page, (uint64_t)byte_count);
  } else {
    clear_dirty_pages(control, BASE(stack));
  }
  return owned(control, stack);
}

// Maps frames of the current CPU's lists, all or none. Interrupts are off.
static inline int map_listed(struct yardstick *self, uint64_t stack, uint64_t first, int is_cleared) {
  struct frames *frames = &self->frames;
  struct control *control = CONTROL(self);
  struct cpu_lists *own = own_lists(frames);
  if (own == 0) return 0;
  uint64_t *list = is_cleared ? &own->zeroed : &own->ready;
  uint64_t mapped_bits = control->mapped_bits;
  int64_t count = control->initial_pages;
  if (count == 1) {
    uint32_t index;
    if (!pop(frames, list, &index)) return 0;
    write_entry(first, hand_out(frames, index, 0) << 12 | ATTRIBUTES | mapped_bits);
  } else {
    uint32_t index;
    for (;;) {
      uint64_t word = value_of(list);
      if (count_of(word) < count) return 0;
      index = first_of(word);
      uint32_t next = record_after(frames, count, index);
      if (replace(list, word, list_word(next, count_of(word) - count))) break;
    }
    uint64_t entry = first;
    for (int64_t left = count; left > 0; left--) {
      uint32_t next = get(&frames->records[index].next);
      write_entry(entry, hand_out(frames, index, 0) << 12 | ATTRIBUTES | mapped_bits);
      entry += 8;
      index = next;
    }
  }
  write_entry(first + (uint64_t)control->initial_marker_distance, MARKER(stack, LIVE));
  publish();
  return 1;
}

static inline struct yardstick_stack made(struct yardstick *self, uint64_t stack, struct cpu_record *record,
                                          uint64_t interrupts) {
  record->cold_allocations++;
  *mapped_frames(record, 0) += CONTROL(self)->initial_pages;
  restore(interrupts);
  return owned(CONTROL(self), stack);
}

// Refuses: neither the CPU's lists nor the node have enough frames. Returns the slot. (Swift goes on to other sources.)
__attribute__((noinline)) static struct yardstick_stack refuse(struct yardstick *self, uint64_t stack) {
  struct control *control = CONTROL(self);
  uint64_t state = lock(&SHARED(self)->lock);
  put_slot(self, (BASE(stack) - control->first_window) >> control->stride_shift);
  put_demand(SHARED(self), 1);
  unlock(&SHARED(self)->lock, state);
  return NO_STACK;
}

// Refills the CPU's zeroed list and maps its frames; without zeroed frames, maps ready ones and clears them.
__attribute__((noinline)) static struct yardstick_stack
make_after_refill(struct yardstick *self, uint64_t stack, uint64_t first, struct cpu_record *record,
                  uint64_t interrupts) {
  struct frames *frames = &self->frames;
  struct control *control = CONTROL(self);
  int64_t count = control->initial_pages;
  if (refill_list(frames, 1, count) && map_listed(self, stack, first, 1)) {
    return made(self, stack, record, interrupts);
  }
  int is_mapped = map_listed(self, stack, first, 0);
  if (!is_mapped && refill_list(frames, 0, count)) is_mapped = map_listed(self, stack, first, 0);
  if (is_mapped) {
    made(self, stack, record, interrupts);
    return cleared(control, stack);
  }
  restore(interrupts);
  return refuse(self, stack);
}

__attribute__((noinline)) static struct yardstick_stack serve_from_depot(struct yardstick *self,
                                                                         struct cpu_record *record, uint64_t state,
                                                                         uint64_t interrupts) {
  struct control *control = CONTROL(self);
  uint64_t stack = take_from_depot(self, record);
  unlock(&SHARED(self)->lock, state);
  mark(control, stack, LIVE);
  restore(interrupts);
  return cleared(control, stack);
}

// In Swift: the cases of several nodes, contiguous stacks, tables to be built, and waiting threads.
__attribute__((noinline)) static struct yardstick_stack allocate_unsupported(struct yardstick *self) {
  (void)self;
  return NO_STACK;
}

__attribute__((noinline)) static struct yardstick_stack
allocate_on_magazine_miss(struct yardstick *self, struct cpu_record *record, uint64_t interrupts) {
  struct control *control = CONTROL(self);
  struct shared *shared = SHARED(self);
  if (!control->is_uniform) {
    restore(interrupts);
    return allocate_unsupported(self);
  }
  uint64_t state = lock(&shared->lock);
  if (shared->depot_count != 0) return serve_from_depot(self, record, state, interrupts);
  int64_t index = shared->first_partial;
  int32_t used = shared->used_slots;
  if (index < 0 || used >= control->capacity || shared->refill_waiter_count != 0) {
    unlock(&shared->lock, state);
    restore(interrupts);
    return allocate_unsupported(self);
  }
  shared->used_slots = used + 1;
  take_demand(shared, 1);
  struct group *group = control->groups + index;
  uint64_t bit = take_first_slot(self, group, index);
  unlock(&shared->lock, state);

  uint64_t slot = ((uint64_t)index << control->group_shift) + bit;
  uint64_t stack = base_of(control, slot) | control->cached_tag;
  uint64_t first = group->location + (bit << control->window_entry_shift) + (uint64_t)control->initial_entry_offset;
  if (!map_listed(self, stack, first, 1)) return make_after_refill(self, stack, first, record, interrupts);
  return made(self, stack, record, interrupts);
}

static inline struct yardstick_stack allocate(struct yardstick *self) {
  struct control *control = CONTROL(self);
  uint64_t interrupts = interrupts_off();
  struct cpu_record *record = record_of(control, current_cpu());
  int64_t last = record->count - 1;
  if (last < 0) return allocate_on_magazine_miss(self, record, interrupts);
  uint64_t stack = record->magazine[last];
  if (TAG(stack) != record->home_tag) return allocate_on_magazine_miss(self, record, interrupts);
  record->count = last;
  mark(control, stack, LIVE);
  restore(interrupts);
  return cleared(control, stack);
}

#endif
