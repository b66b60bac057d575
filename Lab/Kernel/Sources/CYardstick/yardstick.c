// The operations in one translation unit, so that the compiler sees all of it at once, as Swift's does.

#include "CYardstick.h"

#include "allocate.h"
#include "free.h"

struct yardstick_stack yardstick_allocate(struct yardstick *self) { return allocate(self); }

void yardstick_free(struct yardstick *self, struct yardstick_stack stack) { free_stack(self, stack); }

uint64_t yardstick_allocate_frame(struct yardstick *self) { return allocate_frame(&self->frames, ANY_NODE, 6); }

int yardstick_free_frame(struct yardstick *self, uint64_t frame) { return free_frame(&self->frames, frame); }

// A frame in the pool counts as free.
void yardstick_fill_zeroed(struct yardstick *yardstick, uint64_t budget) {
  struct frames *self = &yardstick->frames;
  struct node_record *node = self->nodes;
  while (budget-- > 0 && count_of(value_of(&node->pool)) < node->pool_limit) {
    uint64_t state = lock(&node->lock);
    uint64_t pool = value_of(&node->pool);
    uint32_t index = NO_INDEX;
    if (node->free_frames - count_of(pool) > node->pool_limit) index = take_block(self, node, 0, 5);
    if (index != NO_INDEX) {
      uint32_t tag = get(&RECORD(index)->tag);
      node->free_frames++;
      clear(linear(frame_at(self, index, tag) << 12), 4096);
      set(&RECORD(index)->tag, with_state(tag, LISTED, 0, 0));
      set(&RECORD(index)->next, first_of(pool));
      set_value(&node->pool, list_word(index, count_of(pool) + 1));
    }
    unlock(&node->lock, state);
    if (index == NO_INDEX) return;
  }
}

void yardstick_age(struct yardstick *self) {
  struct shared *shared = SHARED(self);
  uint64_t state = lock(&shared->lock);
  int64_t decayed = shared->remembered - (shared->remembered + 3) / 4;
  shared->remembered = shared->rise > decayed ? shared->rise : decayed;
  shared->rise = 0;
  shared->lowest = shared->taken;
  unlock(&shared->lock, state);
}

void yardstick_complete(struct yardstick *self) { complete_retirement(self); }

void yardstick_reclaim(struct yardstick *self) {
  struct cpu_record *record = record_of(CONTROL(self), current_cpu());
  while (record->count > 0) give_up(self, record->magazine[--record->count]);
  while (SHARED(self)->depot_count > 0) give_up(self, CONTROL(self)->depot[--SHARED(self)->depot_count]);
  complete_retirement(self);
}

uint64_t yardstick_lost_count(struct yardstick *self) {
  return CONTROL(self)->lost_stacks + CONTROL(self)->refused_frees;
}
