// Breaks memory into pieces, makes threads where contiguous stacks are refused, runs them, and shows what is refused.
#include "board.h"
#include "frames.h"
#include "parts.h"
#include "threads.h"

#define THREADS 600
#define TASKS 8

struct task {
  int id;
  void *stack;
};

static thread threads[THREADS];
static struct task tasks[TASKS];
static uint64_t checked;

// QEMU starts as many as it was asked for; the rest does not answer.
static uint32_t count_cpus(void) {
  uint32_t count = 1;
  while (count < 4) {
    register uint64_t function __asm__("x0") = 0xc4000004;  // PSCI AFFINITY_INFO
    register uint64_t target __asm__("x1") = count;
    register uint64_t level __asm__("x2") = 0;
    __asm__ volatile("hvc #0" : "+r"(function), "+r"(target), "+r"(level)::"memory", "x3", "x4", "x5", "x6", "x7", "x8", "x9",
                     "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
    if ((int64_t)function < 0) break;
    count++;
  }
  return count;
}

// Whether TCR_EL1.HA and HD are set, as start.S does where the CPU has them.
static bool keeps_dirty_state(void) {
  uint64_t control;
  __asm__ volatile("mrs %0, tcr_el1" : "=r"(control));
  return (control >> 39 & 3) == 3;
}

// Takes all memory, then gives back every second frame.
static uint64_t pinned;
static void fragment(void) {
  uint64_t first = 0, physical;
  while ((physical = frame_take())) {
    *(uint64_t *)linear_address(physical) = first;
    first = physical;
  }
  while (first) {
    physical = first;
    first = *(uint64_t *)linear_address(physical);
    if (physical >> 12 & 1) {
      *(uint64_t *)linear_address(physical) = pinned;
      pinned = physical;
    } else {
      frame_give(physical);
    }
  }
}

static void unpin(void) {
  while (pinned) {
    uint64_t physical = pinned;
    pinned = *(uint64_t *)linear_address(physical);
    frame_give(physical);
  }
}

// Goes down some levels of about 500 bytes, gives up the CPU at the bottom, and looks at each level on its way back.
static __attribute__((noinline)) uint64_t descend(uint64_t level, uint64_t seed) {
  volatile uint64_t words[56];
  for (uint64_t index = 0; index < 56; index++) words[index] = seed + level * 64 + index;
  if (level > 0) descend(level - 1, seed);
  if (level == 0) thread_yield();
  for (uint64_t index = 0; index < 56; index++) must(words[index] == seed + level * 64 + index, "a thread's frame has changed");
  return level;
}

static void wanderer(void *argument) {
  descend((uint64_t)argument % 25, (uint64_t)argument << 20);
  checked++;
  thread_yield();
  descend(1, (uint64_t)argument);
}

static void overflower(void *argument) {
  descend((uint64_t)argument, 0);
  must(false, "nothing stopped an overflow");
}

static void free_own_stack(void *argument) {
  *(ks_code *)argument = ks_stack_free(&thread_stacks, threads[0].stack, NULL);
}

// Runs all threads in turn until the last has ended.
static uint64_t run_all(uint64_t count) {
  uint64_t switches = 0;
  for (bool is_running = true; is_running;) {
    is_running = false;
    for (uint64_t index = 0; index < count; index++) {
      if (threads[index].has_ended) continue;
      must(thread_run(&threads[index]), "a thread had to wait, with memory free");
      switches++;
      is_running = true;
    }
  }
  return switches;
}

// Many threads of all depths.
static void run_threads(void) {
  ks_error error;
  uint64_t count = 0;
  while (count < THREADS && thread_make(&threads[count], wanderer, (void *)count, &error)) count++;
  must(count == THREADS, error.text);
  uint64_t kib = ks_stacks_kib(&thread_stacks, KS_ANY_NODE);
  uint64_t switches = run_all(count);
  must(checked == count, "not all threads came back");
  uint64_t deepest = 0;
  for (uint64_t index = 0; index < count; index++) {
    uint64_t used = ks_stack_high_water_size(&thread_stacks, threads[index].stack);
    if (used > deepest) deepest = used;
    must(thread_free(&threads[index], &error) == KS_OK, error.text);
  }
  say("{\"type\":\"threads\",\"count\":%u,\"idleKiB\":%u,\"switches\":%u,\"grownPages\":%u,\"deepestBytes\":%u}", count,
      kib, switches, ks_stacks_figures(&thread_stacks).grown_pages, deepest);
}

// One thread goes beyond its stack, one frees the stack that it runs on; the next ones run as before.
static void run_offenders(void) {
  ks_error error;
  must(thread_make(&threads[0], overflower, (void *)100, &error), error.text);
  must(thread_make(&threads[1], wanderer, (void *)24, &error), error.text);
  run_all(2);
  must(threads[0].has_overflowed && !threads[1].has_overflowed, "who has overflowed?");
  must(thread_free(&threads[0], &error) == KS_OK && thread_free(&threads[1], &error) == KS_OK, error.text);
  ks_code code = KS_OK;
  must(thread_make(&threads[0], free_own_stack, &code, &error), error.text);
  run_all(1);
  must(code == KS_RUNNING_STACK, "a running stack was freed");
  must(thread_free(&threads[0], &error) == KS_OK, error.text);
  say("{\"type\":\"offenders\",\"overflows\":1,\"runningFrees\":1}");
}

static void deep_then_shallow(void *argument) {
  descend(24, 1);
  thread_yield();
  descend(24, (uint64_t)argument);
}

// A sleeping thread's dead pages go back, and it grows again.
static void shrink(void) {
  ks_error error;
  thread *thread = &threads[0];
  must(thread_make(thread, deep_then_shallow, (void *)2, &error), error.text);
  must(thread_run(thread) && thread_run(thread) && !thread->has_ended, "a thread had to wait");
  uint64_t before = ks_stack_mapped_size(&thread_stacks, thread->stack);
  ks_shrink_batch batch = {0};
  uint64_t retired = ks_stack_retire_dead_pages(&thread_stacks, thread->stack, thread->stack_pointer, &batch);
  must(ks_stack_restore_retired_pages(&thread_stacks, thread->stack) == retired && retired > 0, "pages were not restored");
  must(ks_stack_retire_dead_pages(&thread_stacks, thread->stack, thread->stack_pointer, &batch) == retired, "retired");
  ks_shrink_complete(&thread_stacks, &batch);
  must(ks_stack_release_retired_pages(&thread_stacks, thread->stack) == retired, "pages were not released");
  uint64_t after = ks_stack_mapped_size(&thread_stacks, thread->stack);
  while (!thread->has_ended) must(thread_run(thread), "a thread had to wait");
  must(thread_free(thread, &error) == KS_OK, error.text);
  say("{\"type\":\"shrink\",\"mappedBefore\":%u,\"mappedAfter\":%u}", before, after);
}

// A page is stored to through the stack's addresses, another through the linear map: the next owner finds neither.
static void write_pages(const ks_stacks *stacks, bool keeps_dirty) {
  ks_error error;
  ks_stacks_reclaim(stacks, SIZE_MAX);
  char *stack = ks_stack_allocate(stacks, KS_ANY_NODE, &error);
  must(stack, error.text);
  must(ks_stack_dirty_size(stacks, stack) == (keeps_dirty ? 0 : 16384), "a new stack was stored to");
  stack[8000] = 1;
  *(char *)linear_address(ks_stack_page_of(stacks, (uintptr_t)stack + 12288)) = 1;
  ks_stack_mark_written(stacks, (uintptr_t)stack + 12288, 1);
  must(ks_stack_dirty_size(stacks, stack) == (keeps_dirty ? 8192 : 16384), "which pages were stored to?");
  must(ks_stack_free(stacks, stack, &error) == KS_OK, error.text);
  char *again = ks_stack_allocate(stacks, KS_ANY_NODE, &error);
  must(again == stack && again[8000] == 0 && again[12288] == 0, "a stack was not zero");
  must(ks_stack_free(stacks, stack, &error) == KS_OK, error.text);
  say("{\"type\":\"dirty\",\"isKept\":%u}", (uint64_t)keeps_dirty);
}

// Threads of a tenant share a limit: 10 frames are 10 stacks that don't grow, and no more.
static void limit_group(void) {
  ks_error error;
  ks_stack_configuration kind = ks_stack_defaults(KS_GROWING);
  ks_stacks tenants = {0};
  ks_group_figures figures;
  kind.groups = 2;
  must(ks_stacks_make(&tenants, &kind, &error) == KS_OK, error.text);
  int group = ks_group_make(&tenants, 10, &error);
  must(group == 0 && ks_group_make(&tenants, SIZE_MAX, &error) == 1, error.text);
  must(ks_group_make(&tenants, 1, &error) == -1 && error.code == KS_NO_GROUPS, "a third group");
  void *stacks[10], *other;
  for (int index = 0; index < 10; index++) {
    must((stacks[index] = ks_stack_allocate_for_group(&tenants, KS_ANY_NODE, group, &error)), error.text);
  }
  must(!ks_stack_allocate_for_group(&tenants, KS_ANY_NODE, group, &error) && error.code == KS_GROUP_LIMIT, "beyond the limit");
  say("{\"type\":\"group\",\"stacks\":10,\"requested\":%u,\"text\":\"%s\"}", error.requested, error.text);
  must((other = ks_stack_allocate_for_group(&tenants, KS_ANY_NODE, 1, &error)), error.text);
  must(!ks_stack_allocate_for_group(&tenants, KS_ANY_NODE, 7, &error) && error.code == KS_UNKNOWN_GROUP, "group 7");
  must(ks_group_remove(&tenants, group, &error) == KS_IN_USE, "a group in use was removed");
  must(ks_group_figures_of(&tenants, group, &figures, &error) == KS_OK, error.text);
  must(figures.charged_frames == 10 && figures.limit_frames == 10 && figures.refusals == 1, "charges");
  must(ks_stacks_end(&tenants, &error) == KS_IN_USE && error.available == 11, "stacks in use were ended");
  for (int index = 0; index < 10; index++) must(ks_stack_free(&tenants, stacks[index], &error) == KS_OK, error.text);
  must(ks_stack_free(&tenants, other, &error) == KS_OK, error.text);
  must(ks_group_set_limit(&tenants, group, 0, &error) == KS_OK, error.text);
  must(!ks_stack_allocate_for_group(&tenants, KS_ANY_NODE, group, &error), "a group that may have nothing");
  must(ks_group_remove(&tenants, group, &error) == KS_OK, error.text);
  must(ks_group_remove(&tenants, group, &error) == KS_UNKNOWN_GROUP, "removed twice");
  must(ks_stacks_end(&tenants, &error) == KS_OK && tenants.opaque == NULL, error.text);
}

// The README's example.
static void run_tasks(void) {
  ks_error error;
  for (int round = 0; round < 2; round++) {
    for (int id = 0; id < TASKS; id++) {
      must(fork_task(&tasks[id], id, &error), error.text);
      uint64_t *words = tasks[id].stack;
      for (int word = 0; word < 20 << 7; word++) {
        must(words[word] == 0, "a stack was not zero");
        words[word] = 1;
      }
    }
    for (int id = 0; id < TASKS; id++) must(reap_task(&tasks[id], &error) == KS_OK, error.text);
  }
  say("{\"type\":\"tasks\",\"forked\":%u}", (uint64_t)2 * TASKS);
}

// The console through a mapping of its own, and an area of memory.
static void map_things(void) {
  ks_error error;
  if (OWN_ADDRESSES) return;
  volatile uint32_t *console = (void *)FREE_ROOT_ENTRY;
  must(ks_map((void *)console, 0x09000000, 4096, KS_READ_WRITE, KS_DEVICE, &error) == KS_OK, error.text);
  must(ks_physical_address((void *)console) == 0x09000000, "the console is elsewhere");
  check_memory_at((void *)console, DEVICE_MEMORY);
  for (const char *text = "{\"type\":\"mapped\"}\n"; *text; text++) *console = (uint8_t)*text;
  must(ks_map((void *)console, 0x09000000, 4096, KS_READ_WRITE, KS_DEVICE, &error) == KS_OCCUPIED, "mapped twice");
  must(ks_unmap((void *)console, 4096, &error) == KS_OK && ks_physical_address((void *)console) == 0, error.text);
  must(ks_unmap((void *)console, 4096, &error) == KS_FOREIGN_ADDRESS, "unmapped twice");
  must(ks_map(linear_address(RAM_START), 0, 4096, KS_READ_ONLY, KS_NORMAL, &error) == KS_OCCUPIED, "mapped over the linear map");
  must(ks_map((void *)(VMALLOC_START + (1ull << 35)), RAM_START, 4096, KS_READ_ONLY, KS_NORMAL, &error) == KS_BAD_ARGUMENT, "in vmalloc");
  must(ks_unmap(linear_address(RAM_START), 1 << 30, &error) == KS_OCCUPIED, "the linear map was unmapped");
  must(ks_map((void *)(uintptr_t)console, 1ull << 50, 4096, KS_READ_ONLY, KS_NORMAL, &error) == KS_BAD_ARGUMENT, "2^50");

  uint64_t *area = ks_vmalloc(1 << 20, 4096, KS_ANY_NODE, "an area of C", &error);
  must(area, error.text);
  for (int word = 0; word < 1 << 17; word += 512) {
    must(area[word] == 0, "an area was not zero");
    area[word] = 1;
  }
  must(ks_physical_address(area) != 0 && ks_vmalloc_figures_now().mapped_pages == 256, "the area is not mapped");
  must(ks_vfree(area, &error) == KS_OK, error.text);
}

// What a cached stack costs, in instructions; clearing it is most of an allocation. Two readings with nothing between them are
// subtracted.
static void measure(const ks_stacks *stacks, const char *name) {
  start_counting();
  uint64_t first = instructions();
  uint64_t reading = instructions() - first;
  uint64_t most_for_free = 0, most_for_allocation = 0;
  for (int turn = 0; turn < 16; turn++) {
    uint64_t before = instructions();
    void *stack = ks_stack_allocate(stacks, KS_ANY_NODE, NULL);
    uint64_t between = instructions();
    ks_code code = ks_stack_free(stacks, stack, NULL);
    uint64_t after = instructions();
    must(code == KS_OK, "free");
    if (turn == 0) continue;
    if (between - before > most_for_allocation) most_for_allocation = between - before;
    if (after - between > most_for_free) most_for_free = after - between;
  }
  say("{\"type\":\"cost\",\"stacks\":\"%s\",\"allocate\":%u,\"free\":%u}", name, most_for_allocation - reading,
      most_for_free - reading);
}

static void put_character(void *context, char character) {
  (void)context;
  *(volatile uint32_t *)0x09000000 = (uint8_t)character;
}

// How much of the boot stack has been used, if it was painted before.
static __attribute__((noinline)) uint64_t used_of_boot_stack(bool paints) {
  volatile uint64_t *words = (uint64_t *)boot_stacks;
  uint64_t end = ((uint64_t)__builtin_frame_address(0) - (uint64_t)boot_stacks) / 8 - 32, first = 0;
  if (paints) {
    for (uint64_t index = 0; index < end; index++) words[index] = 0x5ac5ac5ac5ac5ac5;
  } else {
    while (first < end && words[first] == 0x5ac5ac5ac5ac5ac5) first++;
  }
  return (end - first) * 8;
}

// No block is there for a contiguous stack.
static void show_refused_block(const ks_stacks *linear) {
  ks_error error;
  ks_memory_figures broken = ks_memory_figures_of(KS_ANY_NODE);
  say("{\"type\":\"fragmented\",\"freeFrames\":%u,\"largestFreeOrder\":%u,\"unusablePermille\":%u}", broken.free_frames,
      (uint64_t)broken.largest_free_order, (uint64_t)broken.unusable_permille);
  must(!ks_stack_allocate(linear, KS_ANY_NODE, &error) && error.code == KS_NO_FRAMES, "a contiguous stack in pieces");
  say("{\"type\":\"linear\",\"stacks\":0,\"requested\":%u,\"available\":%u,\"largest\":%u,\"text\":\"%s\"}",
      error.requested, error.available, error.largest, ks_error_text(&error));
}

void kernel_main(void) {
  ks_memory_range memory = {RAM_START, RAM_SIZE, 0};
  ks_memory_range reserved[] = {{RAM_START, (uint64_t)image_end - RAM_START, 0}, {DONATED, DONATED_SIZE, 0}};
  ks_configuration configuration = {
      .linear_map_offset = LINEAR_MAP_OFFSET,
      .cpu_count = count_cpus(),
      .tracks_dirty_pages = keeps_dirty_state(),
      .memory = &memory,
      .memory_count = 1,
      .reserved = reserved,
      .reserved_count = 2,
      .misuse = count_misuse,
      .cpu_records = OWN_ADDRESSES ? own_cpu_records : NULL,
  };
  ks_error error;
  if (VMALLOC_MIB > 0) {
    use_narrow_area(configuration);
    stop(0);
  }
  if (LENDS) {
    use_lent_pages(configuration);
    stop(0);
  }
  if (NODES > 1) {
    use_nodes(configuration);
    stop(0);
  }
  if (EL1H) {
    use_own_vectors(configuration);
    stop(0);
  }
  if (OWN_FRAMES) {
    show_bad_functions(&configuration);
  } else {
    show_bad_configurations(&configuration);
  }
  show_unfit_registers(&configuration);
  show_early_changes();
  used_of_boot_stack(true);
  must(initialize(&configuration, &error) == KS_OK, error.text);
  uint64_t used = used_of_boot_stack(false);
  must(initialize(&configuration, &error) == KS_ALREADY_INITIALIZED, "initialized twice");
  must(ks_check_cpu(&error) == KS_OK, error.text);
  show_other_registers();
  say("{\"type\":\"begin\",\"cpus\":%u,\"freeFrames\":%u,\"stackOfInit\":%u,\"dirtyState\":%u,\"addressBits\":%u}",
      (uint64_t)configuration.cpu_count, frame_count_free(), used, (uint64_t)configuration.tracks_dirty_pages,
      (uint64_t)ADDRESS_BITS);

  ks_stacks blocks = {0}, guarded = {0}, *linear = OWN_FRAMES ? NULL : &blocks;
  ks_stack_configuration kind = ks_stack_defaults(KS_LINEAR);
  if (linear) must(ks_stacks_make(linear, &kind, &error) == KS_OK, error.text);
  kind = ks_stack_defaults(KS_VMALLOC);
  must(ks_stacks_make(&guarded, &kind, &error) == KS_OK, error.text);
  must(threads_begin(KS_GROWING, &error), error.text);
  must(tasks_begin(&error), error.text);
  check_kinds_of_memory(&guarded, &thread_stacks);
  if (linear) measure(linear, "linear");
  measure(&guarded, "vmalloc");
  measure(&thread_stacks, "growing");
  storm(&guarded, configuration.cpu_count);
  show_misuse(linear, &guarded);
  ks_stacks_reclaim(linear, SIZE_MAX);
  use_freed_stacks();
  if (OWN_FRAMES) {
    refuse_changes_of_own_frames();
  } else {
    change_memory(&guarded);
  }
#if OWN_FRAMES
  err_in_functions();
#endif

  fragment();
  if (linear) show_refused_block(linear);
  run_threads();
  run_offenders();
  leave_stacks();
  shrink();
  run_tasks();
  map_things();
  unpin();
  write_pages(&guarded, configuration.tracks_dirty_pages);
  limit_group();
  ask(linear, &guarded, &thread_stacks);

  if (OWN_FRAMES) show_locks();
  if (!OWN_FRAMES) ks_write_buddyinfo(put_character, NULL);
  if (!OWN_ADDRESSES) ks_write_vmallocinfo(put_character, NULL);
  ks_write_stacks(&thread_stacks, put_character, NULL);
  put_character(NULL, '\n');
  say("{\"type\":\"end\",\"misuses\":%u,\"live\":%u,\"lost\":%u}", misuses,
      ks_stacks_figures(linear).live + ks_stacks_figures(&thread_stacks).live, ks_stacks_figures(&guarded).lost);
  stop(0);
}
