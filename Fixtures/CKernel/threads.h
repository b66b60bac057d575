// Threads: they give up the CPU by themselves, and run on stacks that grow.
#pragma once

#include "kernel_stacks.h"

typedef struct thread {
  void *stack;
  uintptr_t stack_pointer;
  bool has_ended, has_overflowed;
} thread;

// The allocator that threads get their stacks from; its geometry is kept for the way from a stack pointer to a thread.
bool threads_begin(ks_strategy strategy, ks_error *error);
extern ks_stacks thread_stacks;

bool thread_make(thread *thread, void (*function)(void *), void *argument, ks_error *error);
// Runs a thread until it gives up the CPU or ends; false: it has to wait for frames.
bool thread_run(thread *thread);
// Gives up the CPU; by threads only.
void thread_yield(void);
ks_code thread_free(thread *thread, ks_error *error);
