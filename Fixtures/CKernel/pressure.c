// Freed stacks that are kept for reuse are memory that others get when they need it.
#include "board.h"
#include "frames.h"
#include "parts.h"

#define KEPT 40

// Takes all frames, and gives them back; returns their number.
static uint64_t take_all_frames(const ks_stacks *stacks) {
  uint64_t first = 0, physical, count = 0;
  while ((physical = frame_take())) {
    *(uint64_t *)linear_address(physical) = first;
    first = physical;
    count++;
  }
  must(ks_stacks_figures(stacks).cached == 0, "a freed stack was kept, and a frame refused");
  while (first) {
    physical = first;
    first = *(uint64_t *)linear_address(physical);
    frame_give(physical);
  }
  return count;
}

void use_freed_stacks(void) {
  ks_error error;
  ks_stacks stacks = {0}, many[33] = {0};
  ks_stack_configuration kind = ks_stack_defaults(KS_VMALLOC);
  must(ks_stacks_make(&stacks, &kind, &error) == KS_OK, error.text);
  uint64_t before = take_all_frames(&stacks);

  void *kept[KEPT];
  for (int index = 0; index < KEPT; index++) must((kept[index] = ks_stack_allocate(&stacks, KS_ANY_NODE, &error)), error.text);
  for (int index = 0; index < KEPT; index++) must(ks_stack_free(&stacks, kept[index], &error) == KS_OK, error.text);
  must(ks_stacks_figures(&stacks).cached >= KEPT, "no freed stack was kept");
  uint64_t after = take_all_frames(&stacks);
  // Tables of the area may stay.
  must(after + 8 >= before, "frames of freed stacks were not handed out");

  // An allocator whose stacks are in use does not end.
  for (int index = 0; index < KEPT; index++) must((kept[index] = ks_stack_allocate(&stacks, KS_ANY_NODE, &error)), error.text);
  must(ks_stacks_end(&stacks, &error) == KS_IN_USE, "an allocator in use ended");
  for (int index = 0; index < KEPT; index++) must(ks_stack_free(&stacks, kept[index], &error) == KS_OK, error.text);
  must(ks_stacks_end(&stacks, &error) == KS_OK, error.text);

  // As many allocators as there can be, and one more, which leaves nothing behind.
  kind.capacity = 16;
  int made = 0;
  while (made < 33 && ks_stacks_make(&many[made], &kind, &error) == KS_OK) made++;
  must(made < 33 && error.code == KS_NO_ALLOCATORS && !many[made].opaque, "33 allocators of stacks");
  uint64_t free_frames = frame_count_free();
  must(ks_stacks_make(&many[made], &kind, &error) == KS_NO_ALLOCATORS, "33 allocators of stacks");
  must(frame_count_free() == free_frames, "a refused allocator keeps frames");
  while (made > 0) must(ks_stacks_end(&many[--made], &error) == KS_OK, error.text);
  say("{\"type\":\"pressure\",\"kept\":%u,\"framesBefore\":%u,\"framesAfter\":%u}", (uint64_t)KEPT, before, after);
}
