// What a kernel's own functions can get wrong, and calls about what is not the library's: a code, a line, and nothing has changed.
#include "board.h"
#include "frames.h"
#include "parts.h"

#if OWN_FRAMES

static void refuse(const char *what, const ks_configuration *configuration, const ks_frame_functions *frames,
                   const ks_address_functions *addresses, ks_code expected) {
  ks_error error = {0};
  uint64_t before = frame_count_free();
  ks_code code = OWN_ADDRESSES ? ks_init_with_addresses(configuration, frames, addresses, &error)
                               : ks_init_with_frames(configuration, frames, &error);
  own_err(OWN_NONE, 0);
  show_refusal(what, code, &error, expected);
  ks_stacks stacks = {0};
  ks_stack_configuration any = ks_stack_defaults(KS_VMALLOC);
  must(ks_stacks_make(&stacks, &any, NULL) == KS_NOT_INITIALIZED, "stacks of nothing");
  must(frame_count_free() == before, "a frame is gone");
}

static void refuse_mistake(const char *what, const ks_configuration *good, enum own_mistake mistake, ks_code expected) {
  own_err(mistake, 1);
  refuse(what, good, &own_frames, &own_addresses, expected);
}

static int node_7(void *context, uint64_t physical) {
  (void)context, (void)physical;
  return 7;
}

static uint64_t none(void *context) {
  (void)context;
  return 0;
}

static uint64_t too_many(void *context) {
  (void)context;
  return (1ull << 36) + 1;
}

void show_bad_functions(const ks_configuration *good) {
  refuse("no configuration", NULL, &own_frames, &own_addresses, KS_BAD_ARGUMENT);
  refuse("no functions for frames", good, NULL, &own_addresses, KS_BAD_ARGUMENT);
  ks_frame_functions bad = own_frames;
  bad.allocate = NULL;
  refuse("no function to allocate", good, &bad, &own_addresses, KS_BAD_ARGUMENT);
  bad = own_frames, bad.free = NULL;
  refuse("no function to free", good, &bad, &own_addresses, KS_BAD_ARGUMENT);
  bad = own_frames, bad.total = none;
  refuse("a kernel of no frames", good, &bad, &own_addresses, KS_BAD_ARGUMENT);
  bad.total = too_many;
  refuse("more frames than addresses", good, &bad, &own_addresses, KS_BAD_ARGUMENT);
  bad = own_frames, bad.node_count = 0;
  refuse("no node", good, &bad, &own_addresses, KS_BAD_ARGUMENT);
  bad.node_count = 65, bad.node_of = node_7;
  refuse("65 nodes", good, &bad, &own_addresses, KS_BAD_ARGUMENT);
  bad.node_count = 2;
  refuse("a frame of node 7, of 2", good, &bad, &own_addresses, KS_BAD_ARGUMENT);
  bad.node_of = NULL;
  refuse("2 nodes, and no function that tells them apart", good, &bad, &own_addresses, KS_BAD_ARGUMENT);
  ks_configuration other = *good;
  other.cpu_records = NULL;
  other.cpu_count = KS_BUILT_IN_CPU_RECORDS + 1;
  refuse("no records of 9 CPUs", &other, &own_frames, &own_addresses, KS_BAD_ARGUMENT);
  other = *good;
  other.cpu_records = (ks_cpu_record *)((char *)own_cpu_records + 4);
  refuse("records of CPUs at an odd address", &other, &own_frames, &own_addresses, KS_BAD_ARGUMENT);
  other = *good;
  other.cpu_count = 0;
  refuse("no CPU", &other, &own_frames, &own_addresses, KS_BAD_MACHINE);
  other = *good;
  other.linear_map_offset += 4096;
  refuse("wrong linear map", &other, &own_frames, &own_addresses, KS_BAD_MACHINE);
  refuse_mistake("no frame at first", good, OWN_REFUSES, KS_NO_FRAMES);
  refuse_mistake("an odd frame at first", good, OWN_GIVES_ODD, KS_BAD_FRAME);
  refuse_mistake("a frame beyond 48 bits at first", good, OWN_GIVES_HIGH, KS_BAD_FRAME);
  refuse_mistake("a dirty frame at first", good, OWN_GIVES_DIRTY, KS_BAD_FRAME);
#if OWN_ADDRESSES
  refuse("no functions for addresses", good, &own_frames, NULL, KS_BAD_ARGUMENT);
  ks_address_functions without = own_addresses;
  without.reserve = NULL;
  refuse("no function to reserve", good, &own_frames, &without, KS_BAD_ARGUMENT);
  without = own_addresses, without.entry = NULL;
  refuse("no function for entries", good, &own_frames, &without, KS_BAD_ARGUMENT);
#endif
}

// A fresh allocator is made, and gives a stack; the function that errs does so at each of its calls in turn. Returns the number of
// calls that were refused with a code.
static uint64_t err_at_each_call(ks_strategy strategy, enum own_mistake mistake, ks_code expected, bool is_told) {
  ks_stack_configuration kind = ks_stack_defaults(strategy);
  kind.capacity = 16;
  uint64_t refusals = 0;
  for (uint64_t at = 0;; at++) {
    ks_error error = {0};
    ks_stacks stacks = {0};
    uint64_t before = frame_count_free(), told = misuses;
    own_err(mistake, at);
    bool has_erred = false;
    if (ks_stacks_make(&stacks, &kind, &error) != KS_OK) {
      must(stacks.opaque == NULL && (error.code == expected || error.code == KS_NO_ADDRESS_SPACE), error.text);
      has_erred = true;
    } else {
      void *stack = ks_stack_allocate(&stacks, KS_ANY_NODE, &error);
      if (!stack) {
        must(error.code == expected, error.text);
        ks_stack_figures figures = ks_stacks_figures(&stacks);
        must(figures.live == 0 && figures.used_slots == 0 && figures.cached == 0, "something is left over");
        has_erred = true;
        own_err(OWN_NONE, 0);
        stack = ks_stack_allocate(&stacks, KS_ANY_NODE, &error);
      }
      must(stack, error.text);
      must(ks_stack_free(&stacks, stack, &error) == KS_OK, error.text);
    }
    bool was_called = mistake == OWN_NONE || own_calls() < at;
    own_err(OWN_NONE, 0);
    if (stacks.opaque) must(ks_stacks_end(&stacks, &error) == KS_OK, error.text);
    // The first round builds the upper tables.
    if (at > 0) must(frame_count_free() == before, "a frame is gone");
    if (at > 0 && has_erred) {
      must(!is_told || misuses > told, "the handler was not told");
      refusals++;
    }
    if (at > 0 && was_called && !has_erred) return refusals;
  }
}

void err_in_functions(void) {
  ks_error error = {0};
  say("{\"type\":\"exhausted\",\"guarded\":%u,\"growing\":%u}", err_at_each_call(KS_VMALLOC, OWN_REFUSES, KS_NO_FRAMES, false),
      err_at_each_call(KS_GROWING, OWN_REFUSES, KS_NO_FRAMES, false));
  say("{\"type\":\"oddFrames\",\"odd\":%u,\"high\":%u}", err_at_each_call(KS_VMALLOC, OWN_GIVES_ODD, KS_BAD_FRAME, true),
      err_at_each_call(KS_VMALLOC, OWN_GIVES_HIGH, KS_BAD_FRAME, true));
#if CHECKED
  say("{\"type\":\"checkedFrames\",\"twice\":%u,\"dirty\":%u,\"unmapped\":%u}",
      err_at_each_call(KS_VMALLOC, OWN_GIVES_TWICE, KS_BAD_FRAME, true),
      err_at_each_call(KS_VMALLOC, OWN_GIVES_DIRTY, KS_BAD_FRAME, true),
      err_at_each_call(KS_VMALLOC, OWN_GIVES_UNMAPPED, KS_BAD_FRAME, true));
#endif
#if OWN_ADDRESSES
  say("{\"type\":\"oddAddresses\",\"unaligned\":%u,\"low\":%u,\"nextEntry\":%u,\"usedTable\":%u}",
      err_at_each_call(KS_VMALLOC, OWN_UNALIGNED_AREA, KS_NO_ADDRESS_SPACE, true),
      err_at_each_call(KS_VMALLOC, OWN_LOW_AREA, KS_NO_ADDRESS_SPACE, true),
      err_at_each_call(KS_VMALLOC, OWN_NEXT_ENTRY, KS_BAD_FRAME, true),
      err_at_each_call(KS_VMALLOC, OWN_USED_TABLE, KS_BAD_FRAME, true));
#endif

  // Records.
  ks_stack_configuration kind = ks_stack_defaults(KS_GROWING);
  static struct {
    _Alignas(64) char bytes[65536];
  } memory;
  ks_stacks stacks = {0};
  size_t size = ks_stacks_records_size(&kind, &error);
  must(size > 0 && size < sizeof(memory.bytes) - 64, error.text);
  kind.records = memory.bytes + 8, kind.records_size = size;
  show_refusal("records at an odd address", ks_stacks_make(&stacks, &kind, &error), &error, KS_BAD_CONFIGURATION);
  kind.records = memory.bytes, kind.records_size = size - 1;
  show_refusal("too little memory for records", ks_stacks_make(&stacks, &kind, &error), &error, KS_BAD_CONFIGURATION);
  kind.records_size = 0;
  show_refusal("records of size 0", ks_stacks_make(&stacks, &kind, &error), &error, KS_BAD_CONFIGURATION);
  // The library has no frames of its own that would serve.
  kind.records = NULL;
  show_refusal("no records", __real_ks_stacks_make(&stacks, &kind, &error), &error, KS_BAD_ARGUMENT);
  kind.records = memory.bytes, kind.records_size = size;
  must(ks_stacks_make(&stacks, &kind, &error) == KS_OK && ks_stacks_figures(&stacks).record_bytes == size, error.text);
  ks_stacks_release_reserve(&stacks);
  must(ks_stacks_fill_pool(&stacks), "the pool was not filled");
  must(__real_ks_stacks_end(&stacks, &error) == KS_OK, error.text);
  kind.size = 5000;
  must(ks_stacks_records_size(&kind, &error) == 0, "records of 5,000-byte stacks");
  show_refusal("records of 5,000-byte stacks", error.code, &error, KS_BAD_CONFIGURATION);
  kind = ks_stack_defaults(KS_VMALLOC);
  show_refusal("no memory for records", __real_ks_stacks_make(&stacks, &kind, &error), &error, KS_BAD_ARGUMENT);

  // What is not the library's.
  kind = ks_stack_defaults(KS_LINEAR);
  show_refusal("linear stacks", ks_stacks_make(&stacks, &kind, &error), &error, KS_NOT_OWNED);
}

#endif
