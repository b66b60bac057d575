// Threads at EL1h, whose exceptions are taken on their own stacks, by vectors that look at nothing: stacks grow by two calls at
// the switch, on the CPU's boot stack. Only on CPUs that set access flags.
#include "board.h"
#include "frames.h"
#include "parts.h"

#define THREADS 200
#define DEEP 24

struct lent_thread {
  void *stack;
  uintptr_t stack_pointer;
  bool has_ended;
};

static ks_stacks lent_stacks;
static struct lent_thread threads[THREADS], *current;
static uintptr_t scheduler;
static uint64_t exceptions;

// lent.S: saves registers on the stack and its pointer at `from`, and goes on at `to`.
void lent_switch(uintptr_t *from, uintptr_t to);
void lent_start(void);
extern char lent_vectors[];

// On the thread's stack. A system call; an abort, which would be a missing page, would come again and again.
void lent_exception(uint64_t syndrome) {
  must(syndrome >> 26 == 0x15, "an exception that is no system call");
  exceptions++;
}

static void yield(void) { lent_switch(&current->stack_pointer, scheduler); }

// Goes down levels of more than 512 bytes, makes a system call on each, and gives up the CPU at the bottom.
static __attribute__((noinline)) void descend(uint64_t level, uint64_t seed) {
  volatile uint64_t words[64];
  for (uint64_t index = 0; index < 64; index++) words[index] = seed + index;
  __asm__ volatile("svc #0" ::: "memory");
  if (level > 0) descend(level - 1, seed + 64);
  if (level == 0) yield();
  for (uint64_t index = 0; index < 64; index++) {
    must(words[index] == seed + index, "a thread's frame has changed");
  }
}

void lent_main(uint64_t depth) {
  descend(depth, depth << 20);
  current->has_ended = true;
  yield();
}

// The switch to a thread and back. False: the thread has to wait.
static bool run(struct lent_thread *thread) {
  if (!ks_stack_lend(&lent_stacks, thread->stack, true)) return false;
  current = thread;
  lent_switch(&scheduler, thread->stack_pointer);
  __asm__ volatile("dsb ish");
  ks_stacks_take_back(&lent_stacks);
  return true;
}

static void make(struct lent_thread *thread, uint64_t depth) {
  ks_error error;
  thread->stack = ks_stack_allocate(&lent_stacks, KS_ANY_NODE, &error);
  must(thread->stack, error.text);
  // What lent_switch takes off: x29, x30, x19, ...
  uint64_t *frame = (uint64_t *)((char *)thread->stack + ks_stacks_geometry(&lent_stacks).usable_end) - 12;
  frame[1] = (uint64_t)lent_start;
  frame[2] = depth;
  thread->stack_pointer = (uintptr_t)frame;
  thread->has_ended = false;
}

static void end(struct lent_thread *thread) {
  ks_error error;
  must(ks_stack_free(&lent_stacks, thread->stack, &error) == KS_OK, error.text);
}

// Threads of all depths: each has the pages that it has touched.
static void run_all(void) {
  for (int index = 0; index < THREADS; index++) make(&threads[index], index % (DEEP + 1));
  uint64_t idle = ks_stacks_kib(&lent_stacks, KS_ANY_NODE), touched = 0;
  for (int index = 0; index < THREADS; index++) {
    must(run(&threads[index]), "a thread had to wait, with memory free");
  }
  for (int index = 0; index < THREADS; index++) {
    // A CPU may have touched more by speculation.
    size_t used = (ks_stack_high_water_size(&lent_stacks, threads[index].stack) + 4095) & ~(size_t)4095;
    must(ks_stack_mapped_size(&lent_stacks, threads[index].stack) >= used, "a page that was touched is gone");
    touched += used / 4096;
  }
  uint64_t mapped = ks_stacks_kib(&lent_stacks, KS_ANY_NODE) / 4;
  for (int index = 0; index < THREADS; index++) {
    while (!threads[index].has_ended) must(run(&threads[index]), "a thread had to wait, with memory free");
    end(&threads[index]);
  }
  say("{\"type\":\"lent\",\"threads\":%u,\"idleKiB\":%u,"
      "\"touchedPages\":%u,\"mappedPages\":%u,\"exceptions\":%u}",
      (uint64_t)THREADS, idle, touched, mapped, exceptions);
}

static uint64_t held;
static bool hold_frame(void) {
  uint64_t physical = frame_take();
  if (!physical) return false;
  *(uint64_t *)linear_address(physical) = held;
  held = physical;
  return true;
}
static bool give_frame(void) {
  uint64_t physical = held;
  if (!physical) return false;
  held = *(uint64_t *)linear_address(physical);
  frame_give(physical);
  return true;
}

// With all memory taken, the refill pool backs one more deep thread; the next waits until frames come free.
static void wait_for_frames(void) {
  for (int index = 0; index < 4; index++) make(&threads[index], DEEP);
  must(run(&threads[0]) && run(&threads[1]), "a thread had to wait, with memory free");
  // Freed stacks give up their frames to a thread that needs them: these are taken as well.
  while (hold_frame() || ks_stacks_reclaim(&lent_stacks, SIZE_MAX) > 0) continue;
  must(run(&threads[2]), "the refill pool is for this thread");
  uint64_t waited = 0;
  while (!run(&threads[3])) {
    if (waited++ == 0) {
      ks_stacks_note_waiting_threads(&lent_stacks, 1);
      must(ks_stack_missing_pages(&lent_stacks, threads[3].stack) == 3, "how many frames does it wait for?");
      must(run(&threads[0]) && threads[0].has_ended, "a thread that has its pages had to wait");
    }
    must(give_frame(), "a thread waits, with memory free");
  }
  ks_stacks_note_waiting_threads(&lent_stacks, 0);
  while (give_frame()) continue;
  for (int index = 0; index < 4; index++) {
    while (!threads[index].has_ended) must(run(&threads[index]), "a thread had to wait, with memory free");
    end(&threads[index]);
  }
  say("{\"type\":\"waited\",\"times\":%u}", waited);
}

// What the two calls cost where nothing is touched.
static void measure_calls(void) {
  start_counting();
  make(&threads[0], 0);
  uint64_t cost = 0;
  for (int turn = 0; turn < 4; turn++) {
    uint64_t before = instructions(), between;
    bool may_run = ks_stack_lend(&lent_stacks, threads[0].stack, true);
    ks_stacks_take_back(&lent_stacks);
    cost = instructions() - before;
    between = instructions();
    cost -= instructions() - between;
    must(may_run && ks_stack_mapped_size(&lent_stacks, threads[0].stack) == 4096, "an untouched page stayed");
  }
  must(ks_stack_fault(&lent_stacks, (uintptr_t)threads[0].stack, threads[0].stack) == KS_NOT_GROWTH,
       "a fault was growth");
  end(&threads[0]);
  say("{\"type\":\"lendingCost\",\"instructions\":%u}", cost);
}

void use_lent_pages(ks_configuration configuration) {
  ks_error error;
  configuration.lends_pages = true;
  must(initialize(&configuration, &error) == KS_OK, error.text);
  must(ks_check_cpu(&error) == KS_OK, error.text);
  ks_stack_configuration growing = ks_stack_defaults(KS_GROWING);
  must(ks_stacks_make(&lent_stacks, &growing, &error) == KS_OK, error.text);
  __asm__ volatile("msr vbar_el1, %0\n\tisb" ::"r"(lent_vectors));
  run_all();
  wait_for_frames();
  measure_calls();
  must(ks_stacks_figures(&lent_stacks).live == 0 && misuses == 0, "stacks were left over");
  say("{\"type\":\"end\",\"misuses\":%u}", misuses);
}
