// The allocator's policy in C: the reference for Swift's instruction counts. It has no other use.
//
// The same records and steps, in the same order, for one node: freed stacks in a magazine, new stacks from frames of the CPU's
// lists, retirement in batches, frames in per-CPU lists above buddies. Other cases are left out. The caller provides frames,
// entries and complete tables.
#ifndef CYARDSTICK_H
#define CYARDSTICK_H

#include <stdint.h>

#pragma clang assume_nonnull begin

struct yardstick;

// The size of the records in bytes.
uint64_t yardstick_byte_count(void);

// Sets the records up in zeroed memory.
//
// The yardstick owns 1,024 frames from first_frame on, which is a multiple of 1,024. Its stacks of 16 KiB lie at the tops of
// slots of 32 KiB from first_window on; the entries of group_count groups of 64 slots lie at the physical addresses `tables`.
// initial_pages is 4, or 1 for growing stacks. If tracks_dirty is not 0, only the dirty pages of a cached stack are cleared.
void yardstick_prepare(struct yardstick *self, uint64_t first_frame, uint64_t first_window, const uint64_t *tables,
                       uint64_t group_count, uint64_t initial_pages, int tracks_dirty);

// A stack: its base, with its properties in the bits below, and its owner. Word 0 is no stack.
struct yardstick_stack {
  uint64_t word;
  const void *_Nullable owner;
};
struct yardstick_stack yardstick_allocate(struct yardstick *self);
// A stack of another owner is counted as lost.
void yardstick_free(struct yardstick *self, struct yardstick_stack stack);

// Allocates a frame from the current CPU's lists, or returns ~0; frees one, or returns 0 if it is refused.
uint64_t yardstick_allocate_frame(struct yardstick *self);
int yardstick_free_frame(struct yardstick *self, uint64_t frame);

// Clears up to `budget` free frames for the pool.
void yardstick_fill_zeroed(struct yardstick *self, uint64_t budget);

// Ends a period of demand: earlier demand counts a quarter less.
void yardstick_age(struct yardstick *self);

// Completes the stacks that wait for an invalidation; the second empties magazine and depot first.
void yardstick_complete(struct yardstick *self);
void yardstick_reclaim(struct yardstick *self);

// The number of stacks freed to the wrong owner and of refused frames; 0 unless there is an error.
uint64_t yardstick_lost_count(struct yardstick *self);

#pragma clang assume_nonnull end

#endif
