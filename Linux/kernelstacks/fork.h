/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included by force when kernel/fork.c is compiled, so that fork.c needs no edit: under ARCH_THREAD_STACK_ALLOCATOR it
 * calls two functions that the architecture would declare.
 */
#ifndef __ASSEMBLY__

struct task_struct;

#ifdef CONFIG_SWIFT_KERNEL_STACKS
unsigned long *arch_alloc_thread_stack_node(struct task_struct *task, int node);
void arch_free_thread_stack(struct task_struct *task);

/* fork_init() names the CPU hotplug callback of its own cache of stacks; ours has the same duty. */
int kernelstacks_cpu_dead(unsigned int cpu);
#define free_vm_stack_cache kernelstacks_cpu_dead
#endif

#if defined(CONFIG_SWIFT_KERNEL_STACKS_TEST) && defined(__GNUC__) && !defined(__clang__)
/* Kept as functions of their own, whichever allocator they belong to, so that the test can call them by name. */
static int alloc_thread_stack_node(struct task_struct *task, int node) __attribute__((noipa, used));
static void free_thread_stack(struct task_struct *task) __attribute__((noipa, used));
#endif

#endif
