// Memory that is handed over after ks_init, and taken back.
#include "board.h"
#include "parts.h"

#define STACKS 8

void show_early_changes(void) {
  must(ks_add_memory(DONATED, DONATED_SIZE, NULL) == KS_NOT_INITIALIZED, "memory for nothing");
  must(ks_remove_memory(DONATED, DONATED_SIZE, NULL) == KS_NOT_INITIALIZED, "memory of nothing");
}

void refuse_changes_of_own_frames(void) {
  ks_error error = {0};
  show_refusal("memory for own frames", ks_add_memory(DONATED, DONATED_SIZE, &error), &error, KS_NOT_OWNED);
  show_refusal("memory of own frames", ks_remove_memory(DONATED, DONATED_SIZE, &error), &error, KS_NOT_OWNED);
}

typedef ks_code (*change)(uint64_t start, uint64_t size, ks_error *error);

static void refuse(const char *what, change change, uint64_t start, uint64_t size, ks_code expected) {
  ks_error error = {0};
  ks_memory_figures before = ks_memory_figures_of(KS_ANY_NODE);
  ks_code code = change(start, size, &error);
  show_refusal(what, code, &error, expected);
  ks_memory_figures after = ks_memory_figures_of(KS_ANY_NODE);
  must(after.total_frames == before.total_frames, what);
  // Freed stacks may have been given back.
  must(after.free_frames == before.free_frames || (code == KS_IN_USE && after.free_frames > before.free_frames), what);
}

static void refuse_bad_ranges(void) {
  refuse("memory without a frame", ks_add_memory, DONATED, 0, KS_BAD_ARGUMENT);
  refuse("half a frame of memory", ks_add_memory, DONATED + 2048, 4096, KS_BAD_ARGUMENT);
  refuse("one frame and a half", ks_remove_memory, DONATED, 6144, KS_BAD_ARGUMENT);
  refuse("memory that is there already", ks_add_memory, DONATED - 4096, 8192, KS_BAD_MEMORY);
  refuse("memory of no range", ks_add_memory, RAM_START + RAM_SIZE, 4096, KS_BAD_MEMORY);
  refuse("memory beyond its range", ks_add_memory, DONATED, RAM_SIZE, KS_BAD_MEMORY);
  refuse("memory that is not mapped", ks_add_memory, 0x4000000000, 4096, KS_BAD_MACHINE);
  refuse("memory beyond all addresses", ks_add_memory, DONATED, UINT64_MAX & ~4095ull, KS_BAD_MEMORY);
  refuse("frame 0", ks_add_memory, 0, 4096, KS_BAD_MEMORY);
  // They lie in the lowest frames that were not reserved.
  refuse("the library's records", ks_add_memory, ((uint64_t)image_end + 4095) & ~4095ull, 4096, KS_BAD_MEMORY);
  refuse("memory that was not added", ks_remove_memory, DONATED, DONATED_SIZE, KS_BAD_MEMORY);
  refuse("memory that no range has", ks_remove_memory, 0x100000000, 4096, KS_BAD_MEMORY);
}

// While all other frames are taken, stacks lie in what was handed over. Their frames go back with it once they are freed.
void change_memory(const ks_stacks *stacks) {
  ks_error error;
  // With it, tables for the others are there.
  void *first_stack = ks_stack_allocate(stacks, KS_ANY_NODE, &error), *kept[STACKS];
  must(first_stack, error.text);
  ks_reclaim(SIZE_MAX);
  ks_vmalloc_flush();
  uint64_t first = 0, physical;
  while ((physical = ks_frames_allocate(0, KS_OTHER_USE, false, KS_ANY_NODE, NULL))) {
    *(uint64_t *)linear_address(physical) = first;
    first = physical;
  }
  refuse_bad_ranges();

  uint64_t total = ks_memory_figures_of(KS_ANY_NODE).total_frames;
  must(!ks_stack_allocate(stacks, KS_ANY_NODE, &error) && error.code == KS_NO_FRAMES, "a stack of no frames");
  must(ks_add_memory(DONATED, DONATED_SIZE, &error) == KS_OK, error.text);
  ks_memory_figures figures = ks_memory_figures_of(KS_ANY_NODE);
  must(figures.total_frames == total + DONATED_SIZE / 4096 && figures.free_frames == DONATED_SIZE / 4096, "frames");
  must(figures.largest_free_order == 10, "the frames are in pieces");
  refuse("memory twice", ks_add_memory, DONATED, DONATED_SIZE, KS_BAD_MEMORY);

  for (int index = 0; index < STACKS; index++) {
    must((kept[index] = ks_stack_allocate(stacks, KS_ANY_NODE, &error)), error.text);
    must(ks_stack_page_of(stacks, (uintptr_t)kept[index]) - DONATED < DONATED_SIZE, "a stack of other frames");
  }
  refuse("memory of stacks in use", ks_remove_memory, DONATED, DONATED_SIZE, KS_IN_USE);
  for (int index = 0; index < STACKS; index++) must(ks_stack_free(stacks, kept[index], &error) == KS_OK, error.text);
  must(ks_stacks_figures(stacks).cached > 0, "no freed stack was kept");
  must(ks_remove_memory(DONATED, DONATED_SIZE, &error) == KS_OK, error.text);
  figures = ks_memory_figures_of(KS_ANY_NODE);
  must(figures.total_frames == total && figures.free_frames == 0, "frames were left behind");
  must(!ks_stack_allocate(stacks, KS_ANY_NODE, &error) && error.code == KS_NO_FRAMES, "a stack of removed frames");
  say("{\"type\":\"changed\",\"frames\":%u,\"stacks\":%u}", DONATED_SIZE / 4096, (uint64_t)STACKS);

  while (first) {
    physical = first;
    first = *(uint64_t *)linear_address(physical);
    must(ks_frames_free(physical, 0, &error) == KS_OK, error.text);
  }
  must(ks_stack_free(stacks, first_stack, &error) == KS_OK, error.text);
}
