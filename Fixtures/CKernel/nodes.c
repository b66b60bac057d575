// A kernel with two NUMA nodes, and without the functions that it may leave out: frames come from the node that was asked for.
#include "board.h"
#include "frames.h"
#include "parts.h"

#if NODES == 2

// Of the only CPU.
#define OWN_NODE 1
uint32_t ks_machine_node(void) { return OWN_NODE; }

// A stack, all of whose mapped pages are on a node.
static void *take(const ks_stacks *stacks, int asked, int node) {
  ks_error error;
  char *stack = ks_stack_allocate(stacks, asked, &error);
  must(stack, error.text);
  size_t size = ks_stacks_geometry(stacks).size;
  for (size_t mapped = ks_stack_mapped_size(stacks, stack); mapped > 0; mapped -= 4096) {
    must(frame_node(ks_stack_page_of(stacks, (uintptr_t)stack + size - mapped)) == node, "a page of another node");
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

void use_nodes(ks_configuration configuration) {
  ks_error error;
  must(initialize(&configuration, &error) == KS_OK, error.text);
  ks_strategy kinds[2] = {KS_VMALLOC, KS_GROWING};
  for (int index = 0; index < 2; index++) {
    ks_stacks stacks = {0};
    ks_stack_configuration kind = ks_stack_defaults(kinds[index]);
    must(ks_stacks_make(&stacks, &kind, &error) == KS_OK, error.text);
    ask_for_nodes(&stacks);
    if (kinds[index] == KS_VMALLOC) exhaust(&stacks);
    must(ks_stacks_end(&stacks, &error) == KS_OK, error.text);
  }
  show_locks();
  say("{\"type\":\"nodes\",\"stacks\":%u}", checked);
}

#else

void use_nodes(ks_configuration configuration) { (void)configuration; }

#endif
