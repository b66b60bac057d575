// Single frames: from and to the current CPU's lists, without a lock; and between these lists and the node, in batches.
#ifndef YARDSTICK_LISTS_H
#define YARDSTICK_LISTS_H

#include "blocks.h"

// The node of a request that may be served by any. Most arguments are constants to the compiler.
enum { ANY_NODE = -1 };

// The lists of the current CPU. Interrupts are off.

static inline struct cpu_lists *own_lists(struct frames *self) {
  uint64_t cpu = current_cpu();
  if (cpu >= (uint64_t)self->listed_cpus) return 0;
  struct cpu_lists *own = self->cpu_lists + cpu;
  __builtin_assume(own != 0);
  return own;
}

static inline int64_t home_node(struct frames *self) {
  uint64_t node = current_node();
  return node < (uint64_t)self->node_count ? (int64_t)node : 0;
}

static inline struct cpu_lists *own_lists_of(struct frames *self, int64_t node) {
  struct cpu_lists *own = own_lists(self);
  if (own == 0) return 0;
  if (own->home < 0) own->home = home_node(self);
  return own->home == node ? own : 0;
}

static inline int pop(struct frames *self, uint64_t *list, uint32_t *index) {
  for (;;) {
    uint64_t word = value_of(list);
    if (count_of(word) == 0) return 0;
    *index = first_of(word);
    uint32_t next = get(&RECORD(*index)->next);
    if (replace(list, word, list_word(next, count_of(word) - 1))) return 1;
  }
}

static inline void push(struct frames *self, uint32_t index, uint64_t *list) {
  for (;;) {
    uint64_t word = value_of(list);
    set(&RECORD(index)->next, first_of(word));
    if (replace(list, word, ((word & ~0xffffffffull) + (1ull << 32)) | index)) return;
  }
}

static inline uint64_t frame_at(struct frames *self, uint32_t index, uint32_t tag) {
  return index + self->ranges[tag >> 16].bias;
}

static inline uint64_t hand_out(struct frames *self, uint32_t index, uint32_t purpose) {
  uint32_t tag = get(&RECORD(index)->tag);
  set(&RECORD(index)->tag, with_state(tag, USED, 0, purpose));
  return frame_at(self, index, tag);
}

// Between a list and the node.

static inline uint32_t record_after(struct frames *self, int64_t steps, uint32_t first) {
  uint32_t index = first;
  for (int64_t left = steps; left > 0; left--) index = get(&RECORD(index)->next);
  return index;
}

static inline void fill_zeroed(struct frames *self, struct cpu_lists *own, int64_t home) {
  struct node_record *node = self->nodes + home;
  uint64_t state = lock(&node->lock);
  uint64_t pool = value_of(&node->pool), word = value_of(&own->zeroed);
  int64_t room = LIST_LIMIT - count_of(word), count = count_of(pool) < room ? count_of(pool) : room;
  if (count > 0) {
    uint32_t last = record_after(self, count - 1, first_of(pool));
    set_value(&node->pool, list_word(get(&RECORD(last)->next), count_of(pool) - count));
    node->free_frames -= count;
    set(&RECORD(last)->next, first_of(word));
    replace(&own->zeroed, word, list_word(first_of(pool), count_of(word) + count));
  }
  unlock(&node->lock, state);
}

static inline void fill_ready(struct frames *self, struct cpu_lists *own, int64_t home) {
  struct node_record *node = self->nodes + home;
  uint64_t state = lock(&node->lock);
  uint64_t word = value_of(&own->ready);
  int64_t end = count_of(word) + LIST_BATCH < LIST_LIMIT ? count_of(word) + LIST_BATCH : LIST_LIMIT;
  int64_t limit = end - count_of(word), count = 0;
  uint32_t h = head(node, 0), first = get(&RECORD(h)->next), last = h, index = first;
  while (count < limit && index != h) {
    set(&RECORD(index)->tag, with_state(get(&RECORD(index)->tag), LISTED, 0, 0));
    last = index;
    index = get(&RECORD(index)->next);
    count++;
  }
  if (count > 0) {
    set(&RECORD(h)->next, index);
    RECORD(index)->previous = h;
    set(&RECORD(last)->next, first_of(word));
    if (index == h) node->non_empty_orders &= ~1ull;
    node->free_blocks[0] -= (uint32_t)count;
    node->free_frames -= count;
  } else {
    first = first_of(word);
  }
  count += count_of(word);
  while (count < end && node->non_empty_orders != 0) {
    int found = __builtin_ctzll(node->non_empty_orders);
    int64_t room = LIST_LIMIT - count;
    int largest = 63 - __builtin_clzll((uint64_t)room);
    if (largest > BATCH_ORDER) largest = BATCH_ORDER;
    int order = found < largest ? found : largest;
    uint32_t block = pop_block(self, node, found);
    uint32_t tag = with_state(get(&RECORD(block)->tag), LISTED, 0, 0);
    if (found != order) split(self, node, block, found, order, tag);
    struct frame_record *first_record = RECORD(block), *record = first_record + (1u << order);
    uint32_t next = block + (1u << order);
    do {
      record--;
      set(&record->next, first);
      set(&record->tag, tag);
      first = --next;
    } while (record != first_record);
    count += 1ll << order;
    node->free_frames -= 1ll << order;
  }
  replace(&own->ready, word, list_word(first, count));
  unlock(&node->lock, state);
}

__attribute__((noinline)) static int refill_zeroed(struct frames *self, struct cpu_lists *own, int64_t count) {
  int64_t home = own->home;
  if (home < 0 || count > LIST_BATCH || count_of(value_of(&self->nodes[home].pool)) < count) return 0;
  fill_zeroed(self, own, home);
  return 1;
}

__attribute__((noinline)) static int refill_ready(struct frames *self, struct cpu_lists *own, int64_t count) {
  int64_t home = own->home;
  if (home < 0 || count > LIST_BATCH) return 0;
  fill_ready(self, own, home);
  return count_of(value_of(&own->ready)) >= count;
}

// Refills one of the current CPU's lists from its node; returns whether it may now have `count` frames.
static inline int refill_list(struct frames *self, int is_cleared, int64_t count) {
  struct cpu_lists *own = own_lists(self);
  if (own == 0) return 0;
  return is_cleared ? refill_zeroed(self, own, count) : refill_ready(self, own, count);
}

// Merges what came first into the current CPU's list: a batch, or fewer, so that frames of one aligned batch stay together.
__attribute__((noinline)) static void spill(struct frames *self, struct cpu_lists *own, int64_t home) {
  struct node_record *node = self->nodes + home;
  uint64_t state = lock(&node->lock);
  uint64_t word = value_of(&own->ready);
  int64_t kept = count_of(word) - LIST_BATCH;
  if (kept > 0) {
    uint32_t last = record_after(self, kept - 1, first_of(word)), first = get(&RECORD(last)->next);
    while (kept < count_of(word) - 1 && (first ^ last) >> BATCH_ORDER == 0) {
      last = first;
      first = get(&RECORD(last)->next);
      kept++;
    }
    if (replace(&own->ready, word, list_word(first_of(word), kept))) {
      release_frames(self, node, first, count_of(word) - kept);
    }
  }
  unlock(&node->lock, state);
}

// Frees a frame already marked as listed when the list is full, or the frame is of another node.
__attribute__((noinline)) static void push_or_spill(struct frames *self, uint32_t index, int64_t home) {
  struct node_record *node = self->nodes + home;
  struct cpu_lists *own = own_lists_of(self, home);
  if (own == 0) {
    uint64_t state = lock(&node->lock);
    release_frame(self, node, index);
    unlock(&node->lock, state);
    return;
  }
  if (count_of(value_of(&own->ready)) >= LIST_LIMIT) spill(self, own, home);
  push(self, index, &own->ready);
}

// One frame.

// Allocates a frame when the ready list is empty. Other nodes are not tried.
__attribute__((noinline)) static uint64_t
allocate_frame_on_empty_list(struct frames *self, int64_t node, uint32_t purpose) {
  if (node < 0) node = home_node(self);
  uint64_t state = interrupts_off();
  uint32_t index;
  int is_found = 0;
  struct cpu_lists *own = own_lists_of(self, node);
  if (own != 0) {
    is_found = pop(self, &own->ready, &index);
    if (!is_found) {
      fill_ready(self, own, node);
      is_found = pop(self, &own->ready, &index);
    }
    if (!is_found) {
      fill_zeroed(self, own, node);
      is_found = pop(self, &own->zeroed, &index);
    }
  }
  restore(state);
  return is_found ? hand_out(self, index, purpose) : NO_FRAME;
}

static inline uint64_t allocate_frame(struct frames *self, int64_t node, uint32_t purpose) {
  uint64_t state = interrupts_off();
  struct cpu_lists *own = own_lists(self);
  if (own != 0 && (node == ANY_NODE || node == own->home)) {
    uint32_t index;
    if (pop(self, &own->ready, &index)) {
      restore(state);
      return hand_out(self, index, purpose);
    }
  }
  restore(state);
  return allocate_frame_on_empty_list(self, node, purpose);
}

// Frees a frame. Returns 0 if it is not RAM or not in use as a single frame.
static inline int free_frame(struct frames *self, uint64_t frame) {
  struct range_record *range = self->ranges;
  while (frame - range->first_frame >= range->frame_count) {
    if (++range >= self->ranges_end) return 0;
  }
  uint32_t index = (uint32_t)(frame - range->bias);
  uint32_t tag = get(&RECORD(index)->tag), expected = tag;
  if ((tag & 0xff) != USED << 4 ||
      !__atomic_compare_exchange_n(&RECORD(index)->tag, &expected, with_state(tag, LISTED, 0, 0), 0, __ATOMIC_RELAXED,
                                   __ATOMIC_RELAXED)) {
    return 0;
  }
  uint64_t state = interrupts_off();
  struct cpu_lists *own = own_lists(self);
  if (own != 0 && own->home == range->node && count_of(value_of(&own->ready)) < LIST_LIMIT) {
    push(self, index, &own->ready);
  } else {
    push_or_spill(self, index, range->node);
  }
  restore(state);
  return 1;
}

#endif
