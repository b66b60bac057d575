/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The allocator's entry points, which are written in Swift (LinuxStacks/EntryPoints.swift), and what the test needs.
 */
#ifndef KERNELSTACKS_STACKS_H
#define KERNELSTACKS_STACKS_H

#include <linux/types.h>

/* The allocator's own memory. */
extern u64 kernelstacks_handle[16];

long swift_stacks_handle_size(void);
bool swift_stacks_init(void *handle, bool grows, long size, long phase, long capacity);
unsigned long swift_stacks_alloc(void *handle, int node);
bool swift_stacks_populate(void *handle, unsigned long stack);
bool swift_stacks_free(void *handle, unsigned long stack);
bool swift_stacks_quarantine(void *handle, unsigned long stack);
long swift_stacks_cached_frames(void *handle);
long swift_stacks_reclaim(void *handle, long target);
long swift_stacks_serve(void *handle);
long swift_stacks_age(void *handle);
long swift_stacks_reclaim_stopped(void *handle, long cpu);

struct task_struct;
struct work_struct;
unsigned long *arch_alloc_thread_stack_node(struct task_struct *task, int node);
void arch_free_thread_stack(struct task_struct *task);
int kernelstacks_cpu_dead(unsigned int cpu);

/* Gives back the freed stacks that this CPU keeps, with those of the depot; for schedule_on_each_cpu(). */
void kernelstacks_drain(struct work_struct *work);

/* How many pages the arena's page tables and records take, and what is there to be lent; how many freed stacks hold. */
void kernelstacks_figures_of_arena(unsigned long *pages, unsigned long *cached);

#endif
