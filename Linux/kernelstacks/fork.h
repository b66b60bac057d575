/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included by force when kernel/fork.c is compiled, so that fork.c of Linux 6.1 needs no edit: under
 * ARCH_THREAD_STACK_ALLOCATOR it calls two functions that the architecture would declare. Linux 6.12 has no such choice: its
 * own functions that call them are left out (Linux/apply), and those at the end of this file serve instead.
 */
#ifndef __ASSEMBLY__

struct task_struct;

#ifdef CONFIG_SWIFT_KERNEL_STACKS
#include <linux/version.h>

unsigned long *arch_alloc_thread_stack_node(struct task_struct *task, int node);
void arch_free_thread_stack(struct task_struct *task);

/* fork_init() names the CPU hotplug callback of its own cache of stacks; ours has the same duty. */
int kernelstacks_cpu_dead(unsigned int cpu);
#define free_vm_stack_cache kernelstacks_cpu_dead
#endif

#ifdef CONFIG_SWIFT_KERNEL_STACKS_GROWING
#include <linux/memcontrol.h>
#include <linux/sched/task_stack.h>
#include <linux/vmstat.h>

#include "record.h"

/* fork.c accounts for four pages of each stack; those that a growing stack lacks count for nothing. */
#define mod_lruvec_page_state(place, item, change)                         \
	do {                                                               \
		struct page *present = (place);                            \
									   \
		if (present)                                               \
			(mod_lruvec_page_state)(present, item, change);    \
	} while (0)
#define memcg_kmem_uncharge_page(place, order)                             \
	do {                                                               \
		struct page *present = (place);                            \
									   \
		if (present)                                               \
			(memcg_kmem_uncharge_page)(present, order);        \
	} while (0)

/* Where set_task_stack_end_magic() writes: a field without another use, if the lowest page is not there. */
static inline unsigned long *kernelstacks_end_of_stack(struct task_struct *task)
{
	struct slot_record *record = record_of_task(task);

	return record && record->missing ? (unsigned long *)&record->area.phys_addr : end_of_stack(task);
}
#define end_of_stack(task) kernelstacks_end_of_stack(task)
#endif

#if defined(CONFIG_SWIFT_KERNEL_STACKS_TEST) && defined(__GNUC__) && !defined(__clang__)
/* Kept as functions of their own, whichever allocator they belong to, so that the test can call them by name. */
static int alloc_thread_stack_node(struct task_struct *task, int node) __attribute__((noipa, used));
static void free_thread_stack(struct task_struct *task) __attribute__((noipa, used));
#endif

#ifdef CONFIG_SWIFT_KERNEL_STACKS
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/errno.h>
#include <linux/sched.h>

static int alloc_thread_stack_node(struct task_struct *task, int node)
{
	task->stack = arch_alloc_thread_stack_node(task, node);
	return task->stack ? 0 : -ENOMEM;
}

static void free_thread_stack(struct task_struct *task)
{
	arch_free_thread_stack(task);
	task->stack = NULL;
}
#endif
#endif

#endif
