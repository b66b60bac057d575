// Threads that free the stack they run on, as kernels do whose threads end without a successor that would.
#include "board.h"
#include "parts.h"
#include "threads.h"

static thread leaver;
static ks_code first, again;
static uint64_t live;

static void leave(void *argument) {
  (void)argument;
  first = ks_stack_free_when_left(&thread_stacks, leaver.stack, NULL);
  again = ks_stack_free_when_left(&thread_stacks, leaver.stack, NULL);
  // It is not free while the thread is on it.
  ks_stacks_serve_reclaim(&thread_stacks);
  live = ks_stacks_figures(&thread_stacks).live;
}

void leave_stacks(void) {
  ks_error error;
  void *before = NULL;
  for (int turn = 0; turn < 100; turn++) {
    must(thread_make(&leaver, leave, NULL, &error), error.text);
    must(!before || leaver.stack == before, "the stack that was left was not free");
    before = leaver.stack;
    while (!leaver.has_ended) must(thread_run(&leaver), "a thread had to wait");
    must(first == KS_OK && again == KS_RUNNING_STACK && live == 1, "a thread that leaves its stack");
    must(ks_stacks_figures(&thread_stacks).live == 1, "it was freed by no call");
  }
  // Here the stack is left; this is the call that frees it.
  must(ks_stack_free_when_left(&thread_stacks, before, &error) == KS_DOUBLE_FREE, "it was not free");
  must(ks_stack_free_when_left(&thread_stacks, &leaver, &error) == KS_FOREIGN_ADDRESS, "a foreign address");
  must(ks_stacks_figures(&thread_stacks).live == 0, "a stack was left over");
  void *stack = ks_stack_allocate(&thread_stacks, KS_ANY_NODE, &error);
  must(ks_stack_free_when_left(&thread_stacks, stack, &error) == KS_OK, error.text);
  must(ks_stack_free(&thread_stacks, stack, &error) == KS_DOUBLE_FREE, "a stack was freed twice");
  say("{\"type\":\"left\",\"threads\":100}");
}
