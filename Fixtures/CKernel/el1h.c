// Threads at EL1h, whose exceptions and interrupts are taken on their own stacks: whole ones, and ones that grow on a fault. Vectors
// made of the library's macros find an overflow before they store. A thread gives up the CPU within an interrupt, and one runs at EL0.
#include "el1h.h"

#include "board.h"
#include "frames.h"
#include "kernel_stacks_vectors.h"
#include "parts.h"

#define THREADS 40
#define DEEP 22
#define MOST_TURNS 2000000

struct el1h_thread {
  void *stack;
  uintptr_t stack_pointer;
  uint64_t depth, calls;
  bool has_ended, has_overflowed;
};

static ks_stacks stacks;
static bool grows;
static struct el1h_thread threads[THREADS], *current;
static uintptr_t scheduler;
static volatile uint64_t exceptions, interrupts;
static uint64_t grown, repeats, yields, finished;
static ks_registers last;
_Static_assert(sizeof last == KS_REGISTERS_SIZE, "the vectors and C agree on registers");

// lent.S
void lent_switch(uintptr_t *from, uintptr_t to);

// el1h.S
extern char el1h_vectors[], el1h_growing_vectors[], el1h_user[];
_Noreturn void el1h_to_user(uintptr_t stack_pointer, uintptr_t instruction, uintptr_t kernel_stack_pointer);
uint64_t el1h_keeps_registers(volatile uint64_t *count);

static void yield(void) { lent_switch(&current->stack_pointer, scheduler); }

static _Noreturn void end_thread(void) {
  current->has_ended = true;
  yield();
  fail(__FILE__, __LINE__, "a thread that had ended went on");
}

// MARK: What the vectors call

// Does what a function may do to registers.
static inline void use_registers(void) {
  __asm__ volatile(
      "mov x2, #-1\n\tmov x3, #-1\n\tmov x4, #-1\n\tmov x5, #-1\n\tmov x6, #-1\n\tmov x7, #-1\n\tmov x8, #-1\n\tmov x9, #-1\n\t"
      "mov x10, #-1\n\tmov x11, #-1\n\tmov x12, #-1\n\tmov x13, #-1\n\tmov x14, #-1\n\tmov x15, #-1\n\tmov x16, #-1\n\t"
      "mov x17, #-1\n\tcmp xzr, x17" ::
          : "cc", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
}

// On the CPU's stack, interrupts masked: nothing has been stored to the thread's. After an interrupt no address has faulted; what
// the vector would have stored to tells.
void el1h_overflow(ks_registers *registers) {
  must(current, "the scheduler's stack has overflowed");
  last = *registers;
  uintptr_t lowest = registers->stack_pointer - FRAME - (grows ? KS_MARGIN : 0);
  ks_stack_place place = ks_stack_classify_address(&stacks, lowest);
  must(place.place == KS_IN_GUARD && place.base == (uintptr_t)current->stack, "an overflow elsewhere");
  current->has_overflowed = true;
  end_thread();
}

// On the CPU's stack, interrupts masked: some of the thread's stack is not mapped, which an interrupt needs.
ks_entry el1h_grow_for_interrupt(ks_registers *registers, uintptr_t lowest) {
  (void)registers;
  grown++;
  use_registers();
  must(ks_stack_fault(&stacks, lowest, current->stack) == KS_GROWN, "a stack did not grow");
  return KS_ENTER;
}

// The same, for an exception of the thread's own.
ks_entry el1h_grow(ks_registers *registers, uintptr_t lowest) {
  grown++;
  use_registers();
  // A data abort at EL1, by a translation fault: perhaps a page that the thread has just reached.
  if (registers->syndrome >> 26 == 0x25 && (registers->syndrome & 0x3c) == 0x04 &&
      ks_stack_fault(&stacks, registers->address, current->stack) == KS_GROWN) {
    repeats++;
    return KS_REPEAT;
  }
  must(ks_stack_fault(&stacks, lowest, current->stack) == KS_GROWN, "a stack did not grow");
  return KS_ENTER;
}

// On the thread's stack.
void el1h_exception(uint64_t syndrome, uint64_t address) {
  use_registers();
  if (syndrome >> 26 == 0x15) {
    exceptions++;
    return;
  }
  // Deep frames fault where the vectors have found room for theirs.
  ks_stack_place place = ks_stack_classify_address(&stacks, address);
  must(syndrome >> 26 == 0x25 && place.place == KS_IN_GUARD && place.base == (uintptr_t)current->stack, "an abort elsewhere");
  current->has_overflowed = true;
  end_thread();
}

#define GIC_CPU ((volatile uint32_t *)0x08010000)
#define TIMER_INTERRUPT 27
#define TICK 20000

static void set_timer(void) { __asm__ volatile("msr cntv_tval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb" ::"r"((uint64_t)TICK), "r"(1ull)); }

// On the thread's stack, which it keeps when it gives up the CPU here.
void el1h_interrupt(void) {
  use_registers();
  uint32_t number = GIC_CPU[3];
  must((number & 1023) == TIMER_INTERRUPT, "an interrupt that was not asked for");
  set_timer();
  GIC_CPU[4] = number;
  interrupts++;
  if (interrupts % 3 == 0) {
    yields++;
    yield();
  }
}

uint64_t el1h_call(uint64_t syndrome) {
  must(syndrome >> 26 == 0x15, "an exception at EL0 that is no system call");
  if ((syndrome & 0xffff) == 1) end_thread();
  return ++current->calls;
}

// MARK: Threads

// Goes down levels of more than 512 bytes, with a system call on each; at the bottom there is one first, and then an interrupt.
static __attribute__((noinline)) void descend(uint64_t level, uint64_t seed) {
  volatile uint64_t words[64];
  for (uint64_t index = 0; index < 64; index++) words[index] = seed + index;
  if (level > 0) __asm__ volatile("svc #0" ::: "memory");
  if (level > 0) descend(level - 1, seed + 64);
  if (level == 0) must(el1h_keeps_registers(&interrupts), "an exception has changed a register");
  for (uint64_t index = 0; index < 64; index++) must(words[index] == seed + index, "a thread's frame has changed");
}

static void work(void) {
  __asm__ volatile("msr daifclr, #2" ::: "memory");
  descend(current->depth, current->depth << 20);
  __asm__ volatile("msr daifset, #2" ::: "memory");
  finished++;
  end_thread();
}

// Frames of 3 KiB whose first store is far below the stack pointer of the frame above: a page is missing, and no exception but that
// of the store has come before.
static __attribute__((noinline)) void leap(uint64_t level) {
  volatile uint64_t words[384];
  for (uint64_t index = 0; index < 384; index++) words[index] = level * 1000 + index;
  if (level < 3) leap(level + 1);
  for (uint64_t index = 0; index < 384; index++) must(words[index] == level * 1000 + index, "a large frame has changed");
}

static void leap_and_return(void) {
  leap(0);
  finished++;
  end_thread();
}

static __attribute__((noinline)) uint64_t fall(uint64_t level) {
  volatile uint64_t words[8] = {level};
  return level == 0 ? 0 : fall(level + 1) + words[0];
}

static void overflow(void) {
  fall(1);
  end_thread();
}

// One frame that is larger than what is left of the stack, and smaller than the guard.
static void overflow_at_once(void) {
  char frame[KS_STACK_SIZE + 1024];
  __asm__ volatile("strb wzr, [%0]" ::"r"(frame) : "memory");
  end_thread();
}

// The boot code maps RAM for EL0 at this offset, too.
#define USER_OFFSET 0x40000000

static _Alignas(16) char user_stack[1024];

static void go_to_user(void) {
  el1h_to_user((uintptr_t)user_stack + sizeof user_stack + USER_OFFSET, (uintptr_t)el1h_user + USER_OFFSET,
               (uintptr_t)current->stack + ks_stacks_geometry(&stacks).usable_end);
}

static void make(struct el1h_thread *thread, void (*function)(void), uint64_t depth) {
  ks_error error;
  thread->stack = ks_stack_allocate(&stacks, KS_ANY_NODE, &error);
  must(thread->stack, error.text);
  // What lent_switch takes off: x29, x30, ...
  uint64_t *frame = (uint64_t *)((char *)thread->stack + ks_stacks_geometry(&stacks).usable_end) - 12;
  frame[1] = (uint64_t)function;
  thread->stack_pointer = (uintptr_t)frame;
  thread->depth = depth, thread->calls = 0;
  thread->has_ended = thread->has_overflowed = false;
}

static void run(struct el1h_thread *thread) {
  if (grows) must(ks_stack_prepare_to_run(&stacks, thread->stack, true), "a thread had to wait, with memory free");
  current = thread;
  lent_switch(&scheduler, thread->stack_pointer);
  __asm__ volatile("dsb ish");
  current = NULL;
}

static void run_all(int count) {
  int turns = 0;
  for (bool is_running = true; is_running; turns++) {
    must(turns < MOST_TURNS, "threads do not end");
    is_running = false;
    for (int index = 0; index < count; index++) {
      if (threads[index].has_ended) continue;
      run(&threads[index]);
      is_running = true;
    }
  }
}

static void free_all(int count) {
  ks_error error;
  for (int index = 0; index < count; index++) must(ks_stack_free(&stacks, threads[index].stack, &error) == KS_OK, error.text);
}

// A thread overflows above its neighbours: all of their bytes stay as they are.
static void overflow_beside(void (*function)(void), const char *name) {
  for (int index = 0; index < 3; index++) make(&threads[index], function, 0);
  struct el1h_thread *offender = &threads[0];
  for (int index = 1; index < 3; index++) {
    if (threads[index].stack > offender->stack) offender = &threads[index];
  }
  uint64_t bytes = 0, adjacent = 0;
  for (int index = 0; index < 3; index++) {
    if (&threads[index] == offender) continue;
    if ((char *)threads[index].stack + KS_STACK_STRIDE == (char *)offender->stack) adjacent++;
    ks_error error;
    if (grows) must(ks_stack_populate(&stacks, threads[index].stack, ks_stacks_geometry(&stacks).usable_end, &error) == KS_OK, error.text);
    for (char *byte = threads[index].stack; byte < (char *)threads[index].stack + KS_STACK_SIZE; byte++) *byte = (char)(uintptr_t)byte;
  }
  must(adjacent == 1, "no neighbour's stack is below");
  run(offender);
  must(offender->has_ended && offender->has_overflowed, "nothing stopped an overflow");
  for (int index = 0; index < 3; index++) {
    if (&threads[index] == offender) continue;
    for (char *byte = threads[index].stack; byte < (char *)threads[index].stack + KS_STACK_SIZE; byte++, bytes++) {
      must(*byte == (char)(uintptr_t)byte, "an overflow has changed a neighbour's byte");
    }
  }
  say("{\"type\":\"overflow\",\"kind\":\"%s\",\"grows\":%u,\"compared\":%u,\"below\":%u}", name, (uint64_t)grows, bytes,
      (uint64_t)offender->stack - last.address);
  free_all(3);
}

static void show(ks_strategy strategy) {
  ks_error error;
  ks_stack_configuration kind = ks_stack_defaults(strategy);
  must(ks_stacks_make(&stacks, &kind, &error) == KS_OK, error.text);
  grows = strategy == KS_GROWING;
  ks_stack_geometry geometry = ks_stacks_geometry(&stacks);
  must(geometry.size == KS_STACK_SIZE && geometry.stride == KS_STACK_STRIDE && geometry.phase == KS_STACK_PHASE, "another layout");
  __asm__ volatile("msr vbar_el1, %0\n\tisb" ::"r"(grows ? el1h_growing_vectors : el1h_vectors));
  exceptions = interrupts = grown = yields = finished = 0;
  for (int index = 0; index < THREADS; index++) make(&threads[index], work, (uint64_t)index % (DEEP + 1));
  uint64_t idle = ks_stacks_kib(&stacks, KS_ANY_NODE);
  set_timer();
  run_all(THREADS);
  uint64_t touched = ks_stacks_kib(&stacks, KS_ANY_NODE);
  free_all(THREADS);
  must(finished == THREADS, "not all threads came to their end");
  say("{\"type\":\"el1h\",\"grows\":%u,\"threads\":%u,\"idleKiB\":%u,\"endKiB\":%u,\"exceptions\":%u,\"interrupts\":%u,"
      "\"yields\":%u,\"grown\":%u}",
      (uint64_t)grows, (uint64_t)THREADS, idle, touched, exceptions, interrupts, yields, grown);
  repeats = 0;
  make(&threads[0], leap_and_return, 0);
  run_all(1);
  free_all(1);
  must(finished == THREADS + 1, "a thread with large frames did not come to its end");
  say("{\"type\":\"leap\",\"grows\":%u,\"repeats\":%u}", (uint64_t)grows, repeats);
  overflow_beside(overflow, "many frames");
  overflow_beside(overflow_at_once, "one frame");
  make(&threads[0], go_to_user, 0);
  interrupts = 0;
  run_all(1);
  must(threads[0].calls == 20, "EL0 did not make its calls");
  say("{\"type\":\"user\",\"grows\":%u,\"calls\":%u,\"interrupts\":%u}", (uint64_t)grows, threads[0].calls, interrupts);
  free_all(1);
  must(ks_stacks_end(&stacks, &error) == KS_OK, error.text);
}

void use_own_vectors(ks_configuration configuration) {
  ks_error error;
  must(initialize(&configuration, &error) == KS_OK, error.text);
  volatile uint32_t *distributor = (uint32_t *)0x08000000;
  distributor[0] = 1;
  distributor[0x100 / 4] = 1u << TIMER_INTERRUPT;
  GIC_CPU[1] = 0xff;
  GIC_CPU[0] = 1;
  show(KS_VMALLOC);
  show(KS_GROWING);
  say("{\"type\":\"end\",\"misuses\":%u,\"live\":0,\"lost\":0}", misuses);
}
