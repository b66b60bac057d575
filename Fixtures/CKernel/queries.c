// What can be asked of stacks, and the calls that no other part makes.
#include "board.h"
#include "frames.h"
#include "parts.h"

static bool is_at(ks_stack_place place, ks_place kind, const char *base) {
  return place.place == kind && place.base == (uintptr_t)base && place.top == (base ? (uintptr_t)base + 16384 : 0);
}

static void ask_for_places(const ks_stacks *guarded, const ks_stacks *linear) {
  ks_error error;
  ks_stack_geometry geometry = ks_stacks_geometry(guarded);
  char *stack = ks_stack_allocate(guarded, KS_ANY_NODE, &error);
  must(stack, error.text);
  uintptr_t base = (uintptr_t)stack;
  must(geometry.size == 16384 && geometry.stride == 32768 && geometry.usable_end == 16384, "geometry");
  must(ks_stack_base(&geometry, base + 16384) == base && ks_stack_base(&geometry, base + 1) == base, "a stack's base");
  must(ks_stack_base(&geometry, base - 8000) == base && ks_thread_info(&geometry, base + 64) == base, "thread_info");
  must(is_at(ks_stack_classify(guarded, base + 16384), KS_ON_STACK, stack), "an empty stack");
  must(is_at(ks_stack_classify(guarded, base - 16), KS_IN_GUARD, stack), "a stack pointer in the guard");
  must(is_at(ks_stack_classify_address(guarded, base), KS_ON_STACK, stack), "a stack's lowest byte");
  must(is_at(ks_stack_classify_address(guarded, base - 1), KS_IN_GUARD, stack), "the guard's highest byte");
  must(is_at(ks_stack_classify(guarded, base + 8), KS_UNALIGNED, NULL), "no stack pointer");
  must(is_at(ks_stack_classify(guarded, 4096), KS_ELSEWHERE, NULL), "a low address");
  must(ks_stack_page_of(guarded, base - 1) == 0, "the guard has a page");
  if (!OWN_ADDRESSES) {
    must(ks_stack_page_of(guarded, base + 5000) == ks_physical_address(stack + 5000) - 904, "a stack's page");
    must(ks_physical_address(stack - 1) == 0, "the guard is mapped");
  }
  must(ks_stack_free(guarded, stack, &error) == KS_OK, error.text);
  must(is_at(ks_stack_classify(guarded, base + 16384), KS_IN_UNUSED_SLOT, stack), "a freed stack");

  if (!linear) return;
  // The boot stack of a CPU that runs nothing now, by another name: the one that this CPU runs on is found out first.
  char *boot = boot_stacks + 3 * 16384;
  must(ks_stacks_adopt_boot_stack(linear, boot + 4096, (uint64_t)boot, &error) == KS_BAD_CONFIGURATION, "misplaced");
  must(ks_stacks_adopt_boot_stack(linear, boot, (uint64_t)boot, &error) == KS_OK, error.text);
  must(ks_stacks_adopt_boot_stack(linear, boot, (uint64_t)boot, &error) == KS_BAD_CONFIGURATION, "adopted twice");
  must(is_at(ks_stack_classify(linear, (uintptr_t)boot + 16384), KS_ON_BOOT_STACK, boot), "the boot stack");
  must(ks_stack_page_of(linear, (uintptr_t)boot + 4096) == (uint64_t)boot + 4096, "the boot stack's page");
  must(ks_stack_free(linear, boot, &error) == KS_BOOT_STACK && error.address == (uint64_t)boot, "the boot stack was freed");
  must(ks_stack_free(linear, boot_stacks, &error) == KS_RUNNING_STACK, "this stack was freed");
}

// Stacks of several sizes, each of an allocator of its own, are freed by their addresses alone.
static void free_by_address(const ks_stacks *guarded, const ks_stacks *linear) {
  static const uint32_t sizes[] = {8 << 10, 16 << 10, 24 << 10, 64 << 10};
  ks_error error;
  ks_stacks classes[4] = {{0}};
  char *stacks[40];
  for (int index = 0; index < 4; index++) {
    ks_stack_configuration kind = ks_stack_defaults(index % 2 ? KS_GROWING : KS_VMALLOC);
    kind.size = sizes[index], kind.capacity = 20;
    must(ks_stacks_make(&classes[index], &kind, &error) == KS_OK, error.text);
  }
  for (int index = 0; index < 40; index++) {
    must((stacks[index] = ks_stack_allocate(&classes[index % 4], KS_ANY_NODE, &error)), error.text);
  }
  for (int index = 0; index < 40; index++) {
    uint32_t size = sizes[index % 4];
    ks_stacks at = ks_stacks_at((uintptr_t)stacks[index]);
    must(at.opaque == classes[index % 4].opaque, "another allocator's stack");
    must(ks_stacks_at((uintptr_t)stacks[index] + size - 1).opaque == at.opaque, "the top of a stack");
    must(ks_stacks_at((uintptr_t)stacks[index] - 1).opaque == at.opaque, "a guard");
    must(ks_stack_free(&at, stacks[index], &error) == KS_OK, error.text);
  }
  for (int index = 0; index < 4; index++) must(ks_stacks_end(&classes[index], &error) == KS_OK, error.text);
  must(!ks_stacks_at((uintptr_t)stacks[0]).opaque && !ks_stacks_at(0).opaque, "stacks of an allocator that has ended");
  must(!ks_stacks_at((uintptr_t)linear_address(RAM_START)).opaque && !ks_stacks_at(UINTPTR_MAX).opaque, "no stack");
  if (linear) {
    char *block = ks_stack_allocate(linear, KS_ANY_NODE, &error);
    must(block && ks_stacks_at((uintptr_t)block + 5000).opaque == linear->opaque, "a linear stack");
    must(ks_stack_free(linear, block, &error) == KS_OK, error.text);
    must(ks_stacks_at((uintptr_t)block).opaque == linear->opaque, "a linear stack that is cached");
    must(ks_stacks_reclaim(linear, SIZE_MAX) > 0, "a stack that was cached");
    must(!ks_stacks_at((uintptr_t)block).opaque, "a linear stack that was freed");
  }
  char *stack = ks_stack_allocate(guarded, KS_ANY_NODE, &error);
  must(ks_stacks_at((uintptr_t)stack).opaque == guarded->opaque, "another allocator's stack");
  must(ks_stack_free(guarded, stack, &error) == KS_OK, error.text);
  say("{\"type\":\"sizes\",\"classes\":4,\"freed\":40}");
}

// One handle for all sizes: requests of any size, freed by address alone, and what is refused.
static void use_sized_stacks(void) {
  static struct {
    _Alignas(64) char bytes[65536];
  } records[KS_MOST_SIZES + 1];
  ks_error error;
  ks_sized_stacks stacks = {0};
  ks_stack_configuration kinds[KS_MOST_SIZES + 1];
  for (int index = 0; index <= KS_MOST_SIZES; index++) {
    kinds[index] = ks_stack_defaults(index % 2 ? KS_GROWING : KS_VMALLOC);
    kinds[index].size = 8192u * (uint32_t)(index + 1), kinds[index].capacity = 20;
    if (OWN_FRAMES) kinds[index].records = records[index].bytes, kinds[index].records_size = sizeof records[index].bytes;
  }
  show_refusal("no size", ks_sized_stacks_make(&stacks, kinds, 0, &error), &error, KS_BAD_CONFIGURATION);
  show_refusal("nine sizes", ks_sized_stacks_make(&stacks, kinds, KS_MOST_SIZES + 1, &error), &error, KS_BAD_CONFIGURATION);
  show_refusal("no configurations", ks_sized_stacks_make(&stacks, NULL, 1, &error), &error, KS_BAD_ARGUMENT);
  show_refusal("no handle", ks_sized_stacks_make(NULL, kinds, 1, &error), &error, KS_BAD_ARGUMENT);
  kinds[1].size = 8192;
  show_refusal("a size twice", ks_sized_stacks_make(&stacks, kinds, 2, &error), &error, KS_BAD_CONFIGURATION);
  kinds[1].size = 8193;
  uint64_t before = frame_count_free();
  show_refusal("a size of no pages", ks_sized_stacks_make(&stacks, kinds, 2, &error), &error, KS_BAD_CONFIGURATION);
  must(!stacks.allocators[0].opaque && stacks.count == 0 && frame_count_free() == before, "something is left over");
  show_refusal("stacks of no size", ks_sized_stacks_end(&stacks, &error), &error, KS_NOT_INITIALIZED);
  must(!ks_sized_stack_allocate(&stacks, 1, KS_ANY_NODE, &error) && error.code == KS_NOT_INITIALIZED, "stacks of nothing");
  must(ks_sized_stack_free(&stacks, &stacks, &error) == KS_NOT_INITIALIZED, "a stack of nothing");
  kinds[1].size = 16384;
  must(ks_sized_stacks_make(&stacks, kinds, 3, &error) == KS_OK && stacks.count == 3, error.text);
  show_refusal("made twice", ks_sized_stacks_make(&stacks, kinds, 3, &error), &error, KS_ALREADY_INITIALIZED);

  char *owned[60];
  for (int index = 0; index < 60; index++) {
    size_t size = index == 0 ? 24576 : (size_t)index * 409;
    must((owned[index] = ks_sized_stack_allocate(&stacks, size, KS_ANY_NODE, &error)), error.text);
    const ks_stacks *owner = ks_sized_stack_owner(&stacks, (uintptr_t)owned[index]);
    must(owner == &stacks.allocators[(size - 1) / 8192], "a stack of another size");
    must(ks_sized_stack_owner(&stacks, (uintptr_t)owned[index] - 1) == owner, "a guard of another size");
  }
  void *none = ks_sized_stack_allocate(&stacks, 0, KS_ANY_NODE, &error);
  show_refusal("a stack of 0 bytes", none ? KS_OK : error.code, &error, KS_BAD_ARGUMENT);
  none = ks_sized_stack_allocate(&stacks, 24577, KS_ANY_NODE, &error);
  show_refusal("a stack of 24,577 bytes", none ? KS_OK : error.code, &error, KS_BAD_ARGUMENT);
  must(error.requested == 24577 && error.largest == 24576, "figures");
  none = ks_sized_stack_allocate(&stacks, SIZE_MAX, KS_ANY_NODE, &error);
  show_refusal("a stack of SIZE_MAX bytes", none ? KS_OK : error.code, &error, KS_BAD_ARGUMENT);
  show_refusal("sizes in use", ks_sized_stacks_end(&stacks, &error), &error, KS_IN_USE);
  must(stacks.allocators[0].opaque && stacks.count == 3, "some were ended");
  show_refusal("within a stack", ks_sized_stack_free(&stacks, owned[50] + 4096, &error), &error, KS_INNER_ADDRESS);
  show_refusal("no stack of any size", ks_sized_stack_free(&stacks, &stacks, &error), &error, KS_FOREIGN_ADDRESS);
  show_refusal("null of any size", ks_sized_stack_free(&stacks, NULL, &error), &error, KS_FOREIGN_ADDRESS);
  for (int index = 0; index < 60; index++) must(ks_sized_stack_free(&stacks, owned[index], &error) == KS_OK, error.text);
  show_refusal("a stack of a size, twice", ks_sized_stack_free(&stacks, owned[7], &error), &error, KS_DOUBLE_FREE);
  must(!ks_sized_stack_owner(&stacks, 0) && !ks_sized_stack_owner(&stacks, UINTPTR_MAX), "no stack");
  must(ks_sized_stacks_end(&stacks, &error) == KS_OK && stacks.count == 0 && !stacks.allocators[2].opaque, error.text);
  say("{\"type\":\"anySize\",\"sizes\":3,\"freed\":60}");
}

static void grow_by_hand(const ks_stacks *growing) {
  ks_error error;
  ks_stacks_reclaim(growing, SIZE_MAX);
  ks_stacks_note_waiting_threads(growing, 2);
  must(!ks_stack_allocate(growing, KS_ANY_NODE, &error) && error.code == KS_THREADS_WAIT && error.available == 2, "waiters");
  ks_stacks_note_waiting_threads(growing, 0);
  char *stack = ks_stack_allocate(growing, KS_ANY_NODE, &error);
  must(stack && ks_stack_missing_pages(growing, stack) == 3, error.text);
  must(ks_stack_prepare_to_run(growing, stack, true), "not enough memory");
  uint64_t reserved = ks_stacks_figures(growing).reserved_frames;
  must(ks_stack_ensure(growing, 8000, (uintptr_t)stack + 16384, stack, &error) == KS_OK, error.text);
  must(ks_stack_mapped_size(growing, stack) == 8192 && ks_stack_missing_pages(growing, stack) == 2, "8,000 bytes");
  must(ks_stacks_figures(growing).reserved_frames == reserved - 1, "not from the reserve");
  must(ks_stack_ensure(growing, 20000, (uintptr_t)stack + 16384, stack, &error) == KS_BEYOND_STACK, "20,000 bytes");
  must(error.requested == 20000 && error.available == 16384, "figures");
  must(ks_stack_fault(growing, (uintptr_t)stack - 8, stack) == KS_NOT_GROWTH, "the guard grew");
  must(ks_stack_fault(growing, (uintptr_t)stack + 16000, stack) == KS_GROWN, "a page that is mapped by now");
  must(ks_stack_fault(growing, (uintptr_t)stack, NULL) == KS_NOT_GROWTH, "nobody's stack grew");
  must(ks_stack_fault(growing, (uintptr_t)stack + 4096, stack) == KS_GROWN, "growth");
  must(ks_stack_mapped_size(growing, stack) == 12288, "12 KiB");
  must(ks_stack_populate(growing, stack, 16385, &error) == KS_BEYOND_STACK, "more than a stack");
  must(ks_stack_populate(growing, stack, 16384, &error) == KS_OK && ks_stack_missing_pages(growing, stack) == 0, error.text);
  must(ks_stack_populate(growing, stack + 8, 16384, &error) == KS_INNER_ADDRESS, "populated within");
  must(ks_stack_free(growing, stack, &error) == KS_OK, error.text);

  must(ks_stacks_release_reserve(growing) > 0, "nothing to release");
  stack = ks_stack_allocate(growing, KS_ANY_NODE, &error);
  must(stack && !ks_stack_prepare_to_run(growing, stack, false), "a thread runs without a reserve");
  must(ks_stack_fault(growing, (uintptr_t)stack, stack) == KS_RESERVE_TOO_SMALL, "growth without a reserve");
  must(ks_stack_ensure(growing, 12000, (uintptr_t)stack + 16384, stack, &error) == KS_NO_RESERVE, "ensured without a reserve");
  must(error.requested == 12000 && error.available == 0, "figures");
  must(ks_stack_mapped_size(growing, stack) == 4096, "something was mapped");
  ks_stacks_fill_reserve(growing);
  must(ks_stack_prepare_to_run(growing, stack, false), "the reserve was not filled");
  must(ks_stack_free(growing, stack, &error) == KS_OK, error.text);
  must(ks_stacks_figures(growing).lost == 0 && ks_stacks_figures(growing).live == 0, "stacks were lost");
}

// `linear` is null where frames are the kernel's own.
void ask(const ks_stacks *linear, const ks_stacks *guarded, const ks_stacks *growing) {
  uint64_t texts = 0;
  for (int code = KS_OK; code <= KS_NOT_OWNED; code++) {
    const char *text = ks_code_text((ks_code)code);
    size_t length = 0;
    while (text[length]) length++;
    must(length > 5 && length < 64 && text != ks_code_text((ks_code)1000), "a code without a text");
    texts++;
  }
  must(ks_error_text(NULL) == ks_code_text(KS_OK), "no error");
  ask_for_places(guarded, linear);
  free_by_address(guarded, linear);
  use_sized_stacks();
  grow_by_hand(growing);
  if (!OWN_FRAMES) {
    uint64_t zeroed = 0;
    while (zeroed < 10 && ks_zero_one_frame()) zeroed++;
    must(zeroed == 10 && ks_memory_figures_of(0).zeroed_frames >= 10, "no frame was zeroed");
    must(ks_frames_drain_cpu(5000) == 0, "CPU 5,000");
  }
  if (!OWN_ADDRESSES) {
    ks_vmalloc_flush();
    must(ks_vmalloc_figures_now().retired_pages == 0, "areas still wait");
  }
  must(ks_stacks_drain_cpu(guarded, 5000) == 0, "CPU 5,000");
  must(ks_reclaim(0) == 0, "0 frames were given back");
  say("{\"type\":\"asked\",\"codes\":%u}", texts);
}
