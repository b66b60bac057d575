// Threads: the switch asks whether a stack could grow to its end, the fault lets it grow, and an overflow ends one thread.
#include "threads.h"

#include "board.h"

ks_stacks thread_stacks;
static thread *running[4];

void switch_to_thread(uintptr_t *stack_pointer);
void switch_to_scheduler(void);
void start_of_thread(void);

bool threads_begin(ks_strategy strategy, ks_error *error) {
  ks_stack_configuration configuration = ks_stack_defaults(strategy);
  return ks_stacks_make(&thread_stacks, &configuration, error) == KS_OK;
}

bool thread_make(thread *thread, void (*function)(void *), void *argument, ks_error *error) {
  thread->stack = ks_stack_allocate(&thread_stacks, KS_ANY_NODE, error);
  if (!thread->stack) return false;
  ks_stack_geometry geometry = ks_stacks_geometry(&thread_stacks);
  // What switch_to_thread takes off: x29, x30, x19, x20, ...
  uint64_t *frame = (uint64_t *)((char *)thread->stack + geometry.usable_end) - 12;
  frame[1] = (uint64_t)start_of_thread;
  frame[2] = (uint64_t)function;
  frame[3] = (uint64_t)argument;
  thread->stack_pointer = (uintptr_t)frame;
  thread->has_ended = thread->has_overflowed = false;
  return true;
}

bool thread_run(thread *thread) {
  if (!ks_stack_prepare_to_run(&thread_stacks, thread->stack, true)) return false;
  running[ks_machine_cpu()] = thread;
  switch_to_thread(&thread->stack_pointer);
  running[ks_machine_cpu()] = NULL;
  return true;
}

void thread_yield(void) { switch_to_scheduler(); }

void thread_end(void) {
  running[ks_machine_cpu()]->has_ended = true;
  switch_to_scheduler();
}

ks_code thread_free(thread *thread, ks_error *error) { return ks_stack_free(&thread_stacks, thread->stack, error); }

// On the boot stack, interrupts off: a thread has taken an exception. True: it goes on.
bool fault_of_thread(uint64_t syndrome, uint64_t address, uint64_t instruction) {
  thread *thread = running[ks_machine_cpu()];
  // A data abort at EL1, by a translation fault.
  if (syndrome >> 26 == 0x25 && (syndrome & 0x3c) == 0x04 && thread) {
    if (ks_stack_fault(&thread_stacks, address, thread->stack) == KS_GROWN) return true;
    ks_stack_place place = ks_stack_classify_address(&thread_stacks, address);
    if (place.place == KS_IN_GUARD && place.base == (uintptr_t)thread->stack) {
      thread->has_ended = thread->has_overflowed = true;
      return false;
    }
  }
  say("failed: a thread's exception %x at instruction %x, address %x", syndrome, instruction, address);
  stop(4);
}
