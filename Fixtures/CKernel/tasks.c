// Tasks whose stacks come from KernelStacks: the example of the package's README.
#include "kernel_stacks.h"

static ks_stacks stacks;

struct task {
  int id;
  void *stack;
};

bool tasks_begin(ks_error *error) {
  ks_stack_configuration configuration = ks_stack_defaults(KS_VMALLOC);
  configuration.size = 20 << 10;
  return ks_stacks_make(&stacks, &configuration, error) == KS_OK;
}

bool fork_task(struct task *task, int id, ks_error *error) {
  *task = (struct task){id, ks_stack_allocate(&stacks, KS_ANY_NODE, error)};
  return task->stack != NULL;
}

ks_code reap_task(struct task *task, ks_error *error) { return ks_stack_free(&stacks, task->stack, error); }
