// What a kernel can get wrong: each is refused with a code and a line of text, and nothing has changed afterwards.
#include "board.h"
#include "parts.h"

uint64_t misuses;

void count_misuse(const ks_error *error) {
  if (error->code != KS_OK && error->text[0]) __atomic_fetch_add(&misuses, 1, __ATOMIC_RELAXED);
}

void show_refusal(const char *what, ks_code code, const ks_error *error, ks_code expected) {
  say("{\"type\":\"refusal\",\"what\":\"%s\",\"code\":%u,\"expected\":%u,\"address\":\"%x\",\"text\":\"%s\"}", what,
      (uint64_t)code, (uint64_t)expected, error->address, ks_error_text(error));
  must(code == expected && error->code == expected, what);
}

static void refuse(const char *what, const ks_configuration *configuration, ks_code expected) {
  ks_error error = {0};
  ks_code code = ks_init(configuration, &error);
  show_refusal(what, code, &error, expected);
  ks_stacks stacks = {0};
  ks_stack_configuration any = ks_stack_defaults(KS_VMALLOC);
  must(ks_stacks_make(&stacks, &any, NULL) == KS_NOT_INITIALIZED, "stacks of nothing");
}

void show_bad_configurations(const ks_configuration *good) {
  must(!ks_vmalloc(4096, 4096, KS_ANY_NODE, NULL, NULL) && ks_vfree(NULL, NULL) == KS_NOT_INITIALIZED, "an area of nothing");
  must(ks_frames_allocate(0, KS_OTHER_USE, false, KS_ANY_NODE, NULL) == 0, "a frame of nothing");
  must(ks_memory_figures_of(KS_ANY_NODE).total_frames == 0 && !ks_zero_one_frame(), "figures of nothing");
  refuse("no configuration", NULL, KS_BAD_ARGUMENT);

  ks_configuration bad = *good;
  bad.memory_count = 0;
  refuse("no memory", &bad, KS_NO_FRAMES);

  ks_memory_range twice[] = {good->memory[0], {good->memory[0].start + 4096, 4096, 0}};
  bad = *good;
  bad.memory = twice;
  bad.memory_count = 2;
  refuse("memory twice", &bad, KS_BAD_MEMORY);

  ks_memory_range endless = {good->memory[0].start, UINT64_MAX, 0};
  bad = *good;
  bad.memory = &endless;
  refuse("endless memory", &bad, KS_BAD_MEMORY);

  ks_memory_range node = {good->memory[0].start, good->memory[0].size, 64};
  bad = *good;
  bad.memory = &node;
  refuse("node 64", &bad, KS_BAD_MEMORY);

  ks_memory_range unmapped[] = {good->memory[0], {0x4000000000, 1 << 20, 0}};
  bad = *good;
  bad.memory = unmapped;
  bad.memory_count = 2;
  refuse("memory that is not mapped", &bad, KS_BAD_MACHINE);

  ks_memory_range too_long = {good->memory[0].start, 2ull << 30, 0};
  bad = *good;
  bad.memory = &too_long;
  refuse("memory whose end is not mapped", &bad, KS_BAD_MACHINE);

  bad = *good;
  bad.linear_map_offset += 4096;
  refuse("wrong linear map", &bad, KS_BAD_MACHINE);

  ks_memory_range all = {0, 1ull << 40, 0};
  bad = *good;
  bad.reserved = &all;
  bad.reserved_count = 1;
  refuse("everything reserved", &bad, KS_NO_FRAMES);

  bad = *good;
  bad.vmalloc_start = LINEAR_MAP_OFFSET, bad.vmalloc_end = LINEAR_MAP_OFFSET + (64ull << 30);
  refuse("vmalloc area over the linear map", &bad, KS_OCCUPIED);
  bad.vmalloc_start = 0x1000, bad.vmalloc_end = 0x10000000;
  refuse("vmalloc area in the low half", &bad, KS_BAD_MACHINE);
  bad.vmalloc_start = VMALLOC_START + (8ull << 30), bad.vmalloc_end = VMALLOC_START;
  refuse("vmalloc area that ends before it begins", &bad, KS_BAD_MACHINE);

  bad = *good;
  bad.cpu_count = 0;
  refuse("no CPU", &bad, KS_BAD_MACHINE);
  if (!good->tracks_dirty_pages) {
    bad = *good;
    bad.tracks_dirty_pages = true;
    refuse("dirty state that no CPU keeps", &bad, KS_BAD_MACHINE);
    bad = *good;
    bad.lends_pages = true;
    refuse("lent pages where no CPU sets access flags", &bad, KS_CANNOT_LEND);
  }
  bad = *good;
  bad.cpu_count = 5000;
  refuse("5,000 CPUs", &bad, KS_BAD_ARGUMENT);
}

static void free_wrongly(const char *what, const ks_stacks *stacks, void *address, ks_code expected) {
  ks_error error = {0};
  uint64_t before = misuses;
  show_refusal(what, ks_stack_free(stacks, address, &error), &error, expected);
  must(misuses == before + 1, "the handler was not told");
}

static void make_wrongly(const char *what, ks_stack_configuration configuration) {
  ks_error error = {0};
  ks_stacks stacks = {0};
  show_refusal(what, ks_stacks_make(&stacks, &configuration, &error), &error, KS_BAD_CONFIGURATION);
  must(stacks.opaque == NULL, "a handle was left behind");
}

// Returns a stack that is in quarantine.
static char *free_stacks_wrongly(const ks_stacks *guarded) {
  ks_stack_geometry geometry = ks_stacks_geometry(guarded);
  char *stack = ks_stack_allocate(guarded, KS_ANY_NODE, NULL), *other = ks_stack_allocate(guarded, KS_ANY_NODE, NULL);
  must(stack && other, "stacks");
  free_wrongly("within a stack", guarded, stack + 4096, KS_INNER_ADDRESS);
  free_wrongly("a stack's guard", guarded, stack - 4096, KS_INNER_ADDRESS);
  must(ks_stack_free(guarded, stack, NULL) == KS_OK, "free");
  free_wrongly("a stack freed twice", guarded, stack, KS_DOUBLE_FREE);
  free_wrongly("a stack freed three times", guarded, stack, KS_DOUBLE_FREE);
  must(ks_stack_quarantine(guarded, stack) && !ks_stack_quarantine(guarded, stack), "quarantine");
  free_wrongly("a stack in quarantine", guarded, stack, KS_DOUBLE_FREE);
  free_wrongly("a slot never used", guarded, stack + 5000 * (uint64_t)geometry.stride, KS_DOUBLE_FREE);
  must(ks_stack_free(guarded, other, NULL) == KS_OK, "free");
  ks_stacks_reclaim(guarded, SIZE_MAX);
  free_wrongly("a stack freed and unmapped", guarded, other, KS_DOUBLE_FREE);
  free_wrongly("null", guarded, NULL, KS_FOREIGN_ADDRESS);
  free_wrongly("the image", guarded, image_end, KS_FOREIGN_ADDRESS);
  free_wrongly("the last address", guarded, (void *)UINTPTR_MAX, KS_FOREIGN_ADDRESS);
  return stack;
}

static void free_areas_wrongly(const ks_stacks *guarded, char *stack) {
  ks_error error = {0};
  void *area = ks_vmalloc(8192, 4096, KS_ANY_NODE, "misuse", NULL);
  free_wrongly("an area as a stack", guarded, area, KS_FOREIGN_ADDRESS);
  show_refusal("an area within", ks_vfree((char *)area + 4096, &error), &error, KS_INNER_ADDRESS);
  must(ks_vfree(area, NULL) == KS_OK, "vfree");
  show_refusal("an area freed twice", ks_vfree(area, &error), &error, KS_DOUBLE_FREE);
  show_refusal("a stack as an area", ks_vfree(stack, &error), &error, KS_FOREIGN_ADDRESS);
  must(!ks_vmalloc(100, 4096, KS_ANY_NODE, NULL, &error), "an odd size");
  show_refusal("an odd size", error.code, &error, KS_BAD_ARGUMENT);
  must(!ks_vmalloc(1ull << 40, 4096, KS_ANY_NODE, NULL, &error), "more than there is");
  show_refusal("an area larger than memory", error.code, &error, KS_NO_FRAMES);
  must(!ks_vmalloc(4096, 4096, 7, NULL, &error), "node 7");
  show_refusal("node 7", error.code, &error, KS_BAD_ARGUMENT);
}

static void free_blocks_wrongly(const ks_stacks *linear, const ks_stacks *guarded) {
  ks_error error = {0};
  ks_stack_geometry geometry = ks_stacks_geometry(guarded);
  char *block = ks_stack_allocate(linear, KS_ANY_NODE, &error);
  must(block, error.text);
  uint64_t frame = (uint64_t)block - LINEAR_MAP_OFFSET;
  show_refusal("a stack's frames", ks_frames_free(frame, 2, &error), &error, KS_FOREIGN_ADDRESS);
  free_wrongly("within a linear stack", linear, block + 4096, KS_INNER_ADDRESS);
  must(ks_stack_free(linear, block, NULL) == KS_OK, "free");
  free_wrongly("a linear stack freed twice", linear, block, KS_DOUBLE_FREE);
  ks_stacks_reclaim(linear, SIZE_MAX);
  free_wrongly("a linear stack freed and given back", linear, block, KS_DOUBLE_FREE);
  uint64_t user = ks_frames_allocate(2, KS_USER_MEMORY, false, KS_ANY_NODE, NULL);
  free_wrongly("user memory as a linear stack", linear, linear_address(user), KS_FOREIGN_ADDRESS);
  free_wrongly("no memory as a linear stack", linear, linear_address(1ull << 37), KS_FOREIGN_ADDRESS);
  char *single = ks_stack_allocate(guarded, KS_ANY_NODE, NULL);
  uint64_t aligned = 0;
  for (uint32_t page = 0; page < geometry.size; page += 4096) {
    uint64_t physical = ks_stack_page_of(guarded, (uintptr_t)single + page);
    if (physical % 16384 == 0) aligned = physical;
  }
  if (aligned) free_wrongly("a frame of another stack", linear, linear_address(aligned), KS_FOREIGN_ADDRESS);
  must(ks_stack_free(guarded, single, NULL) == KS_OK, "free");

  show_refusal("a block of another order", ks_frames_free(user, 1, &error), &error, KS_INNER_ADDRESS);
  show_refusal("a byte of a block", ks_frames_free(user + 8, 2, &error), &error, KS_INNER_ADDRESS);
  must(ks_frames_free(user, 2, NULL) == KS_OK, "frames");
  show_refusal("frames freed twice", ks_frames_free(user, 2, &error), &error, KS_DOUBLE_FREE);
  show_refusal("frames of nobody", ks_frames_free(1ull << 45, 0, &error), &error, KS_FOREIGN_ADDRESS);
  must(ks_frames_allocate(11, KS_USER_MEMORY, false, KS_ANY_NODE, &error) == 0, "order 11");
  show_refusal("order 11", error.code, &error, KS_BAD_ARGUMENT);
}

// What is the kernel's own is not the library's to give.
static void ask_for_what_is_not_there(void) {
  ks_error error = {0};
  if (OWN_FRAMES) {
    must(ks_frames_allocate(0, KS_OTHER_USE, false, KS_ANY_NODE, &error) == 0, "a frame of the library");
    show_refusal("a frame of the library", error.code, &error, KS_NOT_OWNED);
    show_refusal("a frame to the library", ks_frames_free(RAM_START, 0, &error), &error, KS_NOT_OWNED);
    must(ks_memory_figures_of(KS_ANY_NODE).total_frames == 0 && !ks_zero_one_frame(), "figures of the library");
  }
  if (OWN_ADDRESSES) {
    must(!ks_vmalloc(4096, 4096, KS_ANY_NODE, NULL, &error), "an area of the library");
    show_refusal("an area of the library", error.code, &error, KS_NOT_OWNED);
    show_refusal("an area to the library", ks_vfree((void *)VMALLOC_START, &error), &error, KS_NOT_OWNED);
    show_refusal("a mapping by the library",
                 ks_map((void *)FREE_ROOT_ENTRY, 0x09000000, 4096, KS_READ_WRITE, KS_DEVICE, &error), &error, KS_NOT_OWNED);
    show_refusal("no mapping by the library", ks_unmap((void *)FREE_ROOT_ENTRY, 4096, &error), &error, KS_NOT_OWNED);
    must(ks_physical_address(linear_address(RAM_START)) == 0 && ks_vmalloc_flush() == 0, "addresses of the library");
  }
}

void show_misuse(ks_stacks *linear, ks_stacks *guarded) {
  ks_error error = {0};
  char *stack = free_stacks_wrongly(guarded);
  if (!OWN_ADDRESSES) free_areas_wrongly(guarded, stack);
  if (linear) free_blocks_wrongly(linear, guarded);
  ask_for_what_is_not_there();

  ks_stack_configuration configuration = ks_stack_defaults(KS_VMALLOC);
  configuration.size = 5000;
  make_wrongly("a stack of 5,000 bytes", configuration);
  if (linear) {
    configuration = ks_stack_defaults(KS_LINEAR);
    make_wrongly("a second allocator of linear stacks", configuration);
  }
  configuration = ks_stack_defaults(KS_GROWING);
  configuration.thread_info_at_top = false;
  make_wrongly("thread_info where nothing is mapped", configuration);

  show_refusal("stacks made twice", ks_stacks_make(guarded, &configuration, &error), &error, KS_ALREADY_INITIALIZED);

  ks_stacks none = {0};
  free_wrongly("stacks that were not made", &none, stack, KS_NOT_INITIALIZED);
  must(!ks_stack_allocate(NULL, KS_ANY_NODE, &error), "null");
  show_refusal("a null handle", error.code, &error, KS_NOT_INITIALIZED);
  must(!ks_stack_allocate(guarded, 3, &error), "node 3");
  show_refusal("a stack on node 3", error.code, &error, KS_BAD_ARGUMENT);
}
