// Retirement: an unmapped stack's frames go back to the lists, after one invalidation for many stacks, a few at a time.
#ifndef YARDSTICK_RETIRE_H
#define YARDSTICK_RETIRE_H

#include "slots.h"

static inline int64_t give_back(struct yardstick *self, const uint64_t *buffer, int64_t count) {
  int64_t given = 0;
  for (int64_t index = 0; index < count; index++) {
    if (free_frame(&self->frames, buffer[index])) {
      given++;
    } else {
      __atomic_fetch_add(&CONTROL(self)->refused_frees, 1, __ATOMIC_RELAXED);
    }
  }
  return given;
}

// Takes the frames of up to *slots invalidated slots, as many as fit into the buffer. The lock is held.
static inline int64_t collect(struct yardstick *self, uint64_t *buffer, int64_t *slots) {
  struct control *control = CONTROL(self);
  struct shared *shared = SHARED(self);
  int64_t count = 0;
  while (*slots > 0 && shared->drained != shared->invalidated) {
    uint64_t slot = self->metadata->ring[shared->drained & control->ring_mask];
    uint64_t entries = entries_of(control, base_of(control, slot));
    uint64_t end = entries + (uint64_t)control->stack_entry_bytes;
    for (uint64_t next = entries; next < end; next += 8) {
      uint64_t entry = read_entry(next);
      if (entry != 0) {
        if (count == BUFFER) return count;
        write_entry(next, 0);
        buffer[count++] = (entry & 0x0000fffffffff000ull) >> 12;
      }
    }
    shared->drained++;
    put_slot(self, slot);
    (*slots)--;
  }
  return count;
}

static inline void note_invalidated(struct shared *shared, uint32_t end) {
  if ((int32_t)(end - shared->invalidated) > 0) shared->invalidated = end;
  if (shared->retired == end) {
    shared->lowest_retired = UINT64_MAX;
    shared->highest_retired = 0;
  }
}

static inline void unmap(struct control *control, uint64_t stack) {
  uint64_t entries = entries_of(control, BASE(stack)), end = entries + (uint64_t)control->stack_entry_bytes;
  for (uint64_t next = entries; next < end; next += 8) {
    uint64_t entry = read_entry(next);
    if (entry & 1) write_entry(next, entry & ~1ull);
  }
  write_entry(entries + (uint64_t)control->marker_distance, MARKER(stack, RETIRED_STACK));
  publish();
}

// Puts an unmapped stack's slot into the ring if there is room. The lock is held.
static inline int enqueue_retired(struct yardstick *self, uint64_t stack) {
  struct control *control = CONTROL(self);
  struct shared *shared = SHARED(self);
  uint32_t index = shared->retired;
  if (index - shared->drained > control->ring_mask) return 0;
  uint64_t base = BASE(stack);
  self->metadata->ring[index & control->ring_mask] =
      (uint32_t)((base - control->first_window) >> control->stride_shift);
  shared->retired = index + 1;
  if (base < shared->lowest_retired) shared->lowest_retired = base;
  if (base > shared->highest_retired) shared->highest_retired = base;
  return 1;
}

// Frees a stack that found no room in the ring, after an invalidation of its own.
__attribute__((noinline)) static int64_t complete_alone(struct yardstick *self, uint64_t stack) {
  struct control *control = CONTROL(self);
  uint64_t base = BASE(stack), entries = entries_of(control, base);
  invalidate(base, base + (uint64_t)control->size);
  int64_t given = 0;
  for (uint64_t next = entries; next < entries + (uint64_t)control->stack_entry_bytes; next += 8) {
    uint64_t entry = read_entry(next), frame = (entry & 0x0000fffffffff000ull) >> 12;
    if (entry == 0) continue;
    write_entry(next, 0);
    given += give_back(self, &frame, 1);
  }
  uint64_t state = lock(&SHARED(self)->lock);
  put_slot(self, (base - control->first_window) >> control->stride_shift);
  unlock(&SHARED(self)->lock, state);
  return given;
}

__attribute__((noinline)) static int64_t retire(struct yardstick *self, uint64_t stack) {
  struct control *control = CONTROL(self);
  struct shared *shared = SHARED(self);
  unmap(control, stack);
  int64_t left = SLOTS_PER_FREE;
  uint64_t state = lock(&shared->lock);
  if (!enqueue_retired(self, stack)) {
    unlock(&shared->lock, state);
    return complete_alone(self, stack);
  }
  int must_invalidate = 0;
  if (!shared->is_invalidating && shared->retired - shared->invalidated >= (uint32_t)control->batch) {
    shared->is_invalidating = 1;
    must_invalidate = 1;
  }
  int64_t given = 0;
  for (;;) {
    uint64_t buffer[BUFFER];
    int64_t count = collect(self, buffer, &left);
    uint32_t end = shared->retired;
    uint64_t lowest = shared->lowest_retired, highest = shared->highest_retired + (uint64_t)control->size;
    unlock(&shared->lock, state);
    if (must_invalidate) {
      must_invalidate = 0;
      invalidate(lowest, highest);
      state = lock(&shared->lock);
      note_invalidated(shared, end);
      shared->is_invalidating = 0;
      unlock(&shared->lock, state);
    }
    given += give_back(self, buffer, count);
    if (count != BUFFER || left <= 0) return given;
    state = lock(&shared->lock);
  }
}

// Completes the retired stacks: one invalidation at most, then all frames are freed.
static inline void complete_retirement(struct yardstick *self) {
  struct shared *shared = SHARED(self);
  uint64_t state = lock(&shared->lock);
  uint32_t end = shared->retired;
  if (end != shared->invalidated) {
    uint64_t lowest = shared->lowest_retired, highest = shared->highest_retired + (uint64_t)CONTROL(self)->size;
    unlock(&shared->lock, state);
    invalidate(lowest, highest);
    state = lock(&shared->lock);
    note_invalidated(shared, end);
  }
  for (;;) {
    uint64_t buffer[BUFFER];
    int64_t left = INT64_MAX, count = collect(self, buffer, &left);
    unlock(&shared->lock, state);
    give_back(self, buffer, count);
    if (count != BUFFER) return;
    state = lock(&shared->lock);
  }
}

#endif
