// A kernel with two NUMA nodes, and without all that it may leave out: frames come from the node that was asked for, the library
// clears them, and records bound the number of stacks.
#include "board.h"
#include "frames.h"
#include "parts.h"

#if NODES == 2

// Of the only CPU.
#define OWN_NODE 1
uint32_t ks_machine_node(void) { return OWN_NODE; }

// A stack, all of whose mapped pages are on a node. It is zero, and then no word of it is.
static void *take(const ks_stacks *stacks, int asked, int node) {
  ks_error error;
  char *stack = ks_stack_allocate(stacks, asked, &error);
  must(stack, error.text);
  size_t size = ks_stacks_geometry(stacks).size;
  for (size_t mapped = ks_stack_mapped_size(stacks, stack); mapped > 0; mapped -= 4096) {
    must(frame_node(ks_stack_page_of(stacks, (uintptr_t)stack + size - mapped)) == node, "a page of another node");
    uint64_t *words = (uint64_t *)(stack + size - mapped);
    for (int index = 0; index < 512; index++) {
      must(words[index] == 0, "a stack that is not zero");
      words[index] = 0x5ac5ac5ac5ac5ac5;
    }
  }
  return stack;
}

static uint64_t checked;

static void ask_for_nodes(const ks_stacks *stacks) {
  ks_error error;
  uint64_t kib = ks_stacks_kib(stacks, KS_ANY_NODE);
  void *owned[24];
  for (int round = 0; round < 3; round++) {
    for (int index = 0; index < 24; index++) {
      int asked = index % 3 == 0 ? KS_ANY_NODE : index >> 2 & 1;
      owned[index] = take(stacks, asked, asked == KS_ANY_NODE ? OWN_NODE : asked);
      checked++;
    }
    must(ks_stacks_kib(stacks, 0) > 0 && ks_stacks_kib(stacks, 1) > 0, "a node without stacks");
    must(ks_stacks_kib(stacks, 0) + ks_stacks_kib(stacks, 1) == ks_stacks_kib(stacks, KS_ANY_NODE), "a sum");
    for (int index = 0; index < 24; index++) must(ks_stack_free(stacks, owned[index], &error) == KS_OK, error.text);
    must(ks_stacks_kib(stacks, KS_ANY_NODE) == kib, "a stack is still charged");
  }
  must(!ks_stack_allocate(stacks, 2, &error) && error.code == KS_BAD_ARGUMENT && error.available == 2, "node 2");
  must(!ks_stack_allocate(stacks, -2, &error) && error.code == KS_BAD_ARGUMENT, "node -2");
}

// With a node's memory gone, the other serves; with both gone, a stack is refused without a figure of free memory.
static void exhaust(const ks_stacks *stacks) {
  ks_error error;
  ks_stacks_reclaim(stacks, SIZE_MAX);
  uint64_t first = 0, physical;
  while (frame_node(physical = frame_take()) == OWN_NODE) *(uint64_t *)linear_address(physical) = first, first = physical;
  frame_give(physical);
  void *stack = take(stacks, OWN_NODE, 0);
  must(ks_stack_free(stacks, stack, &error) == KS_OK, error.text);
  while ((physical = frame_take())) *(uint64_t *)linear_address(physical) = first, first = physical;
  must(!ks_stack_allocate(stacks, KS_ANY_NODE, &error) && error.code == KS_NO_FRAMES && error.available == 0, "no memory");
  while ((physical = first)) {
    first = *(uint64_t *)linear_address(physical);
    frame_give(physical);
  }
  stack = take(stacks, OWN_NODE, OWN_NODE);
  must(ks_stack_free(stacks, stack, &error) == KS_OK, error.text);
}

// Frames are not counted: an allocator has as many stacks as its records have room for.
static void bound_by_records(ks_strategy strategy) {
  static struct {
    _Alignas(64) char bytes[16384];
  } memory;
  ks_error error = {0};
  ks_stacks stacks = {0};
  ks_stack_configuration kind = ks_stack_defaults(strategy);
  must(ks_stacks_records_size(&kind, &error) > 1 << 20, "records of the most stacks");
  kind.records = memory.bytes, kind.records_size = sizeof memory.bytes;
  must(ks_stacks_make(&stacks, &kind, &error) == KS_OK, error.text);
  ks_stack_figures figures = ks_stacks_figures(&stacks);
  must(figures.capacity > 4096 && figures.record_bytes > sizeof memory.bytes - 64, "room for records is not used");
  must(ks_stacks_end(&stacks, &error) == KS_OK, error.text);

  // One more, and too little for the least.
  for (size_t index = 0; index < sizeof memory.bytes; index++) memory.bytes[index] = 0x5a;
  kind.capacity = (uint32_t)figures.capacity + 1;
  show_refusal("more stacks than records", ks_stacks_make(&stacks, &kind, &error), &error, KS_BAD_CONFIGURATION);
  kind.capacity = 0, kind.records_size = 64;
  show_refusal("no room for a record", ks_stacks_make(&stacks, &kind, &error), &error, KS_BAD_CONFIGURATION);
  for (size_t index = 0; index < sizeof memory.bytes; index++) must(memory.bytes[index] == 0x5a, "refused records were changed");
  kind.capacity = (uint32_t)figures.capacity, kind.records_size = figures.record_bytes;
  must(ks_stacks_make(&stacks, &kind, &error) == KS_OK, error.text);
  must(ks_stacks_end(&stacks, &error) == KS_OK, error.text);
}

// Nor is an area refused before frames are asked for.
static void refuse_large_areas(void) {
  struct {
    size_t size;
    ks_code code;
  } areas[] = {{1ull << 30, KS_NO_FRAMES}, {1ull << 50, KS_NO_ADDRESS_SPACE}, {SIZE_MAX / 2 - 4095, KS_NO_ADDRESS_SPACE}};
  uint64_t before = frame_count_free();
  for (int index = 0; index < 3; index++) {
    ks_error error = {0};
    must(!ks_vmalloc(areas[index].size, 4096, KS_ANY_NODE, NULL, &error), "an area that is larger than memory");
    show_refusal("a large area", error.code, &error, areas[index].code);
  }
  must(frame_count_free() == before, "a frame is gone");
}

void use_nodes(ks_configuration configuration) {
  ks_error error;
  configuration.cpu_records = NULL;
  must(initialize(&configuration, &error) == KS_OK, error.text);
  ks_strategy kinds[2] = {KS_VMALLOC, KS_GROWING};
  for (int index = 0; index < 2; index++) {
    ks_stacks stacks = {0};
    ks_stack_configuration kind = ks_stack_defaults(kinds[index]);
    must(ks_stacks_make(&stacks, &kind, &error) == KS_OK, error.text);
    ask_for_nodes(&stacks);
    if (kinds[index] == KS_VMALLOC) exhaust(&stacks);
    must(ks_stacks_end(&stacks, &error) == KS_OK, error.text);
    bound_by_records(kinds[index]);
  }
  if (!OWN_ADDRESSES) refuse_large_areas();
  show_locks();
  say("{\"type\":\"nodes\",\"stacks\":%u}", checked);
}

#else

void use_nodes(ks_configuration configuration) { (void)configuration; }

#endif
