// SPDX-License-Identifier: GPL-2.0
/*
 * What a kernel stack costs in instructions, counted by the PMU around the very functions that fork calls
 * (alloc_thread_stack_node and free_thread_stack in kernel/fork.c; see ../fork.h).
 *
 * Linux's own allocators free in two steps, the second after a grace period of RCU. That step is counted too, by return
 * probes on the functions that it consists of, less what such a probe itself takes.
 */

#include <linux/delay.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <asm/sysreg.h>

#include "../versions.h"
#include "test.h"

#define BURST 64
#define ROUNDS 64
#define INST_RETIRED 0x08

struct held {
	void *stack;
	struct vm_struct *area;
};

struct cost {
	u64 sum;
	u32 count, worst;
};

u32 kernelstacks_instructions(void)
{
	isb();
	return read_sysreg(pmevcntr0_el0);
}

void kernelstacks_count_instructions(void)
{
	write_sysreg(INST_RETIRED, pmevtyper0_el0);
	write_sysreg(read_sysreg(pmcr_el0) | 1, pmcr_el0);
	write_sysreg(1, pmcntenset_el0);
	write_sysreg(1, pmuserenr_el0);
	isb();
}

static void add(struct cost *cost, u32 spent)
{
	cost->sum += spent;
	cost->count++;
	cost->worst = max(cost->worst, spent);
}

/* Steps of a free that come later. */

static struct cost later;
static u64 passed_over;

static int enter(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	*(u32 *)instance->data = kernelstacks_instructions();
	return 0;
}

/* In an interrupt the call only puts the area into a worker's list: part of the step that it is in. */
static int enter_area_free(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	if (!in_interrupt())
		return enter(instance, registers);
	passed_over++;
	return 1;
}

static int leave(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	u32 now = kernelstacks_instructions();

	add(&later, now - *(u32 *)instance->data);
	return 0;
}

static noinline void nothing(void)
{
	asm volatile("");
}

#define PROBE(function, enter)                                                                                         \
	{ .kp.symbol_name = function, .entry_handler = enter, .handler = leave, .data_size = sizeof(u32), .maxactive = 8 }

static struct kretprobe steps[] = {
	PROBE("thread_stack_free_rcu", enter),
	PROBE(AREA_FREE, enter_area_free),
	PROBE("drain_vmap_area_work", enter),
};
static bool probed[ARRAY_SIZE(steps)];

/* What a probe adds to a step that it is on; or, passed over, to the step that it is in. */
static u32 cost_of_probe(bool is_passed_over)
{
	struct kretprobe probe = PROBE(NULL, is_passed_over ? enter_area_free : enter);
	unsigned long flags;
	u32 before, whole;
	int i;

	probe.kp.addr = (kprobe_opcode_t *)nothing;
	later = (struct cost){};
	if (register_kretprobe(&probe))
		return 0;
	local_bh_disable();
	local_irq_save(flags);
	before = kernelstacks_instructions();
	for (i = 0; i < 16; i++)
		nothing();
	whole = kernelstacks_instructions() - before;
	local_irq_restore(flags);
	local_bh_enable();
	unregister_kretprobe(&probe);
	return is_passed_over ? whole / 16 : later.count ? later.sum / later.count : 0;
}

/* A step that this kernel does not have cannot be probed, and takes nothing. */
static void probe_steps(bool on)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		if (on)
			probed[i] = !register_kretprobe(&steps[i]);
		else if (probed[i])
			unregister_kretprobe(&steps[i]);
	}
}

/* The stacks */

static int (*alloc_stack)(struct task_struct *task, int node);
static void (*free_stack)(struct task_struct *task);
static struct task_struct *task;
static struct cost allocs, frees;

static int take(struct held *held)
{
	u32 before = kernelstacks_instructions();
	int error = alloc_stack(task, NUMA_NO_NODE);
	u32 after = kernelstacks_instructions();

	if (error)
		return error;
	add(&allocs, after - before);
	held->stack = task->stack;
#ifdef CONFIG_VMAP_STACK
	held->area = task->stack_vm_area;
#endif
	return 0;
}

static void give(struct held *held)
{
	unsigned long flags;
	u32 before, after;

	if (!held->stack)
		return;
	task->stack = held->stack;
#ifdef CONFIG_VMAP_STACK
	task->stack_vm_area = held->area;
#endif
	local_irq_save(flags);
	before = kernelstacks_instructions();
	free_stack(task);
	after = kernelstacks_instructions();
	local_irq_restore(flags);
	add(&frees, after - before);
	held->stack = NULL;
}

static void wait_for_later_steps(void)
{
	rcu_barrier();
	msleep(20);
}

/* `live` stacks exist; then, again and again, 64 of them are freed and 64 new ones allocated. */
static int exchange(struct held *held, unsigned int live)
{
	unsigned int i, round, next = 0;
	int error = 0;

	for (i = 0; i < live && !error; i++)
		error = take(&held[i]);
	allocs = frees = later = (struct cost){};
	passed_over = 0;
	for (round = 0; round < ROUNDS && !error; round++) {
		for (i = 0; i < BURST; i++)
			give(&held[(next + i * 13) % live]);
		wait_for_later_steps();
		for (i = 0; i < BURST && !error; i++)
			error = take(&held[(next + i * 13) % live]);
		next += BURST * 13 + 1;
	}
	return error;
}

int kernelstacks_measure(unsigned int live, char *result)
{
	struct cost alloc_cost, free_cost, later_cost;
	struct held *held;
	u64 overhead, passed_overhead, later_sum;
	unsigned int i;
	int error;

	alloc_stack = (void *)kallsyms_lookup_name("alloc_thread_stack_node");
	free_stack = (void *)kallsyms_lookup_name("free_thread_stack");
	if (!alloc_stack || !free_stack)
		return -ENOENT;
	if (live < BURST * 13 || live > 1 << 16)
		return -EINVAL;
	task = kzalloc(sizeof(*task), GFP_KERNEL);
	held = kvcalloc(live, sizeof(*held), GFP_KERNEL);
	error = task && held ? 0 : -ENOMEM;
	if (!error) {
		kernelstacks_count_instructions();
		overhead = cost_of_probe(false);
		passed_overhead = cost_of_probe(true);
		probe_steps(true);
		error = exchange(held, live);
		alloc_cost = allocs;
		free_cost = frees;
		later_cost = later;
		passed_overhead *= passed_over;
		for (i = 0; i < live; i++)
			give(&held[i]);
		wait_for_later_steps();
		probe_steps(false);
	}
	kvfree(held);
	kfree(task);
	if (error)
		return error;
	later_sum = later_cost.sum - min(later_cost.sum, overhead * later_cost.count + passed_overhead);
	later_cost.worst -= min_t(u64, later_cost.worst, overhead);
	snprintf(result, RESULT_BYTES,
		 "\"allocInstructions\":%llu,\"freeInstructions\":%llu,\"worstFreeInstructions\":%u,"
		 "\"freeNow\":%llu,\"worstNow\":%u,\"freeLater\":%llu,\"worstLater\":%u,\"laterSteps\":%u,\"worstAlloc\":%u",
		 alloc_cost.sum / alloc_cost.count, (free_cost.sum + later_sum) / free_cost.count,
		 free_cost.worst + later_cost.worst, free_cost.sum / free_cost.count, free_cost.worst,
		 later_sum / free_cost.count, later_cost.worst, later_cost.count, alloc_cost.worst);
	return 0;
}
