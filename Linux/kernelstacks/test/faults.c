// SPDX-License-Identifier: GPL-2.0
/* Mistakes on purpose: a page allocation that fails, a stack freed twice, a foreign address, an overflow. */

#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

#include "../stacks.h"
#include "../versions.h"
#include "test.h"

/* A page allocation that fails: the n-th that fork makes on behalf of the victim, not one of its page faults. */

static struct task_struct *victim;
static unsigned int asked, countdown;

static int refuse(struct kprobe *probe, struct pt_regs *registers)
{
	gfp_t flags = registers->regs[0];

	if (current != victim || !in_task() || !countdown || flags & __GFP_NOFAIL || --countdown)
		return 0;
	registers->regs[0] = 0; /* return NULL */
	registers->pc = registers->regs[30];
	return 1;
}

static int enter_fork(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	if (current == victim)
		countdown = asked;
	return 0;
}

static int leave_fork(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	if (current == victim)
		countdown = 0;
	return 0;
}

static struct kprobe allocation = { .symbol_name = PAGE_ALLOCATION, .pre_handler = refuse };
static struct kretprobe forking = {
	.kp.symbol_name = "kernel_clone", .entry_handler = enter_fork, .handler = leave_fork, .maxactive = 8,
};

int kernelstacks_refuse(unsigned int n)
{
	static bool registered;
	int error;

	if (!registered) {
		error = register_kprobe(&allocation);
		if (!error)
			error = register_kretprobe(&forking);
		if (error)
			return error;
		registered = true;
	}
	asked = n;
	victim = current;
	return 0;
}

/* Frees that should not be */

#ifdef CONFIG_SWIFT_KERNEL_STACKS
int kernelstacks_free_twice(char *result)
{
	struct task_struct *task = kzalloc(sizeof(*task), GFP_KERNEL);
	unsigned long *stack, *others[64];
	int i, reused = 0;

	if (!task)
		return -ENOMEM;
	stack = arch_alloc_thread_stack_node(task, NUMA_NO_NODE);
	task->stack = stack;
	arch_free_thread_stack(task);
	arch_free_thread_stack(task);
	for (i = 0; i < 64; i++) {
		others[i] = arch_alloc_thread_stack_node(task, NUMA_NO_NODE);
		reused += others[i] == stack;
	}
	for (i = 0; i < 64; i++) {
		task->stack = others[i];
		if (others[i])
			arch_free_thread_stack(task);
	}
	kfree(task);
	snprintf(result, RESULT_BYTES, "\"stack\":\"0x%lx\",\"handedOut\":%d", (unsigned long)stack, reused);
	return 0;
}

/*
 * Stacks that CPU 1 frees, and this one once more, all before a worker can run here: each of them is in CPU 1's cache, out of
 * this CPU's reach.
 */
#define SUSPECTS 6
static struct task_struct *suspects[SUSPECTS];
static unsigned long *suspect_stacks[SUSPECTS];

static void free_suspects(void *unused)
{
	int i;

	for (i = 0; i < SUSPECTS; i++)
		arch_free_thread_stack(suspects[i]);
}

static void do_nothing(struct work_struct *work) {}
static DECLARE_WORK(after, do_nothing);

int kernelstacks_free_many_twice(void)
{
	int i;

	kernelstacks_drain_all();
	for (i = 0; i < SUSPECTS; i++) {
		suspects[i] = kzalloc(sizeof(*suspects[i]), GFP_KERNEL);
		if (!suspects[i])
			return -ENOMEM;
		suspect_stacks[i] = arch_alloc_thread_stack_node(suspects[i], NUMA_NO_NODE);
		suspects[i]->stack = suspect_stacks[i];
	}
	preempt_disable();
	smp_call_function_single(1, free_suspects, NULL, 1);
	free_suspects(NULL);
	preempt_enable();
	/* Behind the worker that looks for them. */
	schedule_work(&after);
	flush_work(&after);
	for (i = 0; i < SUSPECTS; i++)
		kfree(suspects[i]);
	return 0;
}

/* How many of them this CPU hands out again. */
int kernelstacks_reuse(char *result)
{
	struct task_struct *task = kzalloc(sizeof(*task), GFP_KERNEL);
	unsigned long *others[64];
	int i, j, reused = 0;

	if (!task)
		return -ENOMEM;
	for (i = 0; i < 64; i++) {
		others[i] = arch_alloc_thread_stack_node(task, NUMA_NO_NODE);
		for (j = 0; j < SUSPECTS; j++)
			reused += others[i] && others[i] == suspect_stacks[j];
	}
	for (i = 0; i < 64; i++) {
		task->stack = others[i];
		if (others[i])
			arch_free_thread_stack(task);
	}
	kfree(task);
	snprintf(result, RESULT_BYTES, "\"handedOut\":%d", reused);
	return 0;
}

int kernelstacks_free_foreign(void)
{
	struct task_struct *task = kzalloc(sizeof(*task), GFP_KERNEL);

	if (!task)
		return -ENOMEM;
	task->stack = task;
	arch_free_thread_stack(task);
	kfree(task);
	return 0;
}
#else
int kernelstacks_free_twice(char *result) { return -EOPNOTSUPP; }
int kernelstacks_free_many_twice(void) { return -EOPNOTSUPP; }
int kernelstacks_reuse(char *result) { return -EOPNOTSUPP; }
int kernelstacks_free_foreign(void) { return -EOPNOTSUPP; }
#endif

/* An overflow */

static volatile int depth_limit = INT_MAX;

static noinline int recurse(int depth)
{
	volatile char frame[256];

	frame[0] = depth;
	return depth < depth_limit ? recurse(depth + 1) + frame[0] : 0;
}

int kernelstacks_overflow(void)
{
	pr_info("kernelstacks: overflowing the stack 0x%lx\n", (unsigned long)current->stack);
	return recurse(0);
}
