// The node's blocks: buddies, split and merged. The node's lock is held in all functions.
#ifndef YARDSTICK_BLOCKS_H
#define YARDSTICK_BLOCKS_H

#include "machine.h"
#include "records.h"

#define RECORD(i) (&self->records[i])

static inline uint32_t head(struct node_record *node, int order) { return node->list_heads + (uint32_t)order; }

static inline void push_block(struct frames *self, struct node_record *node, uint32_t index, int order, uint32_t tag) {
  uint32_t h = head(node, order), first = get(&RECORD(h)->next);
  set(&RECORD(index)->next, first);
  RECORD(index)->previous = h;
  set(&RECORD(index)->tag, tag);
  RECORD(first)->previous = index;
  set(&RECORD(h)->next, index);
  node->non_empty_orders |= 1ull << order;
  node->free_blocks[order]++;
}

static inline uint32_t pop_block(struct frames *self, struct node_record *node, int order) {
  uint32_t h = head(node, order), index = get(&RECORD(h)->next), next = get(&RECORD(index)->next);
  set(&RECORD(h)->next, next);
  RECORD(next)->previous = h;
  if (next == h) node->non_empty_orders &= ~(1ull << order);
  node->free_blocks[order]--;
  return index;
}

static inline void remove_block(struct frames *self, struct node_record *node, uint32_t index, int order) {
  uint32_t next = get(&RECORD(index)->next), previous = RECORD(index)->previous;
  set(&RECORD(previous)->next, next);
  RECORD(next)->previous = previous;
  if (next == previous && next == head(node, order)) node->non_empty_orders &= ~(1ull << order);
  node->free_blocks[order]--;
}

static inline void split(struct frames *self, struct node_record *node, uint32_t index, int found, int order,
                         uint32_t tag) {
  int half = found;
  do {
    half--;
    uint32_t h = head(node, half), upper = index + (1u << half);
    set(&RECORD(upper)->next, h);
    RECORD(upper)->previous = h;
    set(&RECORD(upper)->tag, with_state(tag, FREE, (uint32_t)half, 0));
    set(&RECORD(h)->next, upper);
    RECORD(h)->previous = upper;
    node->free_blocks[half] = 1;
  } while (half > order);
  node->non_empty_orders |= (1ull << found) - (1ull << order);
}

static inline int can_merge(struct frames *self, uint32_t index, int order, uint32_t tag) {
  uint32_t bit = (1u << order) & 1023;
  return get(&RECORD(index ^ bit)->tag) == with_state(tag, FREE, (uint32_t)order, 0);
}

static inline void merge_and_push(struct frames *self, struct node_record *node, uint32_t index, int freed,
                                  uint32_t tag) {
  int order = freed;
  do {
    uint32_t bit = 1u << order;
    remove_block(self, node, index ^ bit, order);
    set(&RECORD(index | bit)->tag, with_state(tag, INSIDE, 0, 0));
    index &= ~bit;
    order++;
  } while (can_merge(self, index, order, tag));
  push_block(self, node, index, order, with_state(tag, FREE, (uint32_t)order, 0));
  node->free_frames += 1ll << freed;
}

// Merges an aligned block of frames that all say `listed`, or puts it into the list of its order.
static inline void release_block(struct frames *self, struct node_record *node, uint32_t index, int order) {
  uint32_t tag = get(&RECORD(index)->tag), inside = with_state(tag, INSIDE, 0, 0);
  for (struct frame_record *rest = RECORD(index) + ((1u << order) - 1); rest != RECORD(index); rest--) {
    set(&rest->tag, inside);
  }
  if (can_merge(self, index, order, tag)) {
    merge_and_push(self, node, index, order, tag);
  } else {
    push_block(self, node, index, order, with_state(tag, FREE, (uint32_t)order, 0));
    node->free_frames += 1ll << order;
  }
}

__attribute__((noinline)) static void release_frame(struct frames *self, struct node_record *node, uint32_t index) {
  release_block(self, node, index, 0);
}

// Releases linked frames; neighbours become blocks at once, as far as they are aligned.
static inline void release_frames(struct frames *self, struct node_record *node, uint32_t next, int64_t left) {
  while (left > 0) {
    uint32_t lowest = next, highest = next;
    for (;;) {
      next = get(&RECORD(next)->next);
      if (--left == 0) break;
      if (next == highest + 1) {
        highest = next;
      } else if (next + 1 == lowest) {
        lowest = next;
      } else {
        break;
      }
    }
    if (lowest == highest) {
      release_frame(self, node, lowest);
      continue;
    }
    for (int64_t count = (int64_t)(highest - lowest) + 1; count > 0;) {
      int order = __builtin_ctz(lowest | 1u << 10), largest = 63 - __builtin_clzll((uint64_t)count);
      if (order > largest) order = largest;
      release_block(self, node, lowest, order);
      lowest += 1u << order;
      count -= 1ll << order;
    }
  }
}

static inline uint32_t take_block(struct frames *self, struct node_record *node, int order, uint32_t purpose) {
  uint64_t available = node->non_empty_orders >> order;
  if (available == 0) return NO_INDEX;
  int found = order + __builtin_ctzll(available);
  uint32_t index = pop_block(self, node, found);
  uint32_t tag = get(&RECORD(index)->tag);
  if (found != order) split(self, node, index, found, order, tag);
  set(&RECORD(index)->tag, with_state(tag, USED, (uint32_t)order, purpose));
  node->free_frames -= 1ll << order;
  return index;
}

#endif
