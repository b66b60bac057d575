// The allocator's policy written in C: what Swift's instructions are compared with. Nothing else uses it.
//
// The same records and the same steps, in the same order, for one node: freed stacks in a magazine, cold allocation of
// frames at hand, retirement in batches, frames in per-CPU lists above buddies. What serves other cases is left out.
// Tables are there, and frames and entries are given by whoever sets it up.
#ifndef CYARDSTICK_H
#define CYARDSTICK_H

#include <stdint.h>

#pragma clang assume_nonnull begin

struct yardstick;

// How many bytes the records take.
uint64_t yardstick_byte_count(void);

// Sets the records up in memory that reads as zero.
//
// The frames from first_frame on, 1,024 of them and a multiple of that, are the yardstick's. The stacks of 16 KiB lie at
// the tops of slots of 32 KiB from first_window on; the entries of group_count groups of 64 slots lie at the physical
// addresses `tables`. initial_pages is 4, or 1 where stacks grow. Where tracks_dirty is not 0, entries tell which pages of a
// cached stack were used, and no others are cleared.
void yardstick_prepare(struct yardstick *self, uint64_t first_frame, uint64_t first_window, const uint64_t *tables,
                       uint64_t group_count, uint64_t initial_pages, int tracks_dirty);

// A stack: its base, and in the bits below what has to be known of it; and whose it is. Word 0 is none.
struct yardstick_stack {
  uint64_t word;
  const void *_Nullable owner;
};
struct yardstick_stack yardstick_allocate(struct yardstick *self);
// A stack of another owner is counted as lost.
void yardstick_free(struct yardstick *self, struct yardstick_stack stack);

// One frame from the current CPU's lists, or ~0; and back, 0 if that was refused.
uint64_t yardstick_allocate_frame(struct yardstick *self);
int yardstick_free_frame(struct yardstick *self, uint64_t frame);

// Clears free frames for the pool.
void yardstick_fill_zeroed(struct yardstick *self, uint64_t budget);

// Ends a period: what was wanted before counts a quarter less.
void yardstick_age(struct yardstick *self);

// Completes what waits for an invalidation; and the same after emptying magazine and depot.
void yardstick_complete(struct yardstick *self);
void yardstick_reclaim(struct yardstick *self);

// How many stacks were given to the wrong owner, and how many frames were refused: 0, or something is wrong.
uint64_t yardstick_lost_count(struct yardstick *self);

#pragma clang assume_nonnull end

#endif
