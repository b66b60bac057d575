/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Growth on a fault, where CPUs set no access flags: a page that a thread has never used is not mapped. Exception entry looks
 * before it stores (entry.h), so an access to such a page, or an interrupt that would need it, maps it.
 *
 *     prepare_arch_switch(next)        kernelstacks_reserve(): prev's park margin is mapped, and this CPU's reserve has a frame
 *                                      for each page that next's stack lacks
 *     next runs                        kernelstacks_grow_on_fault(): pages are mapped, from the lowest that is down to the one
 *                                      that is needed, with frames of the reserve
 *     finish_arch_post_lock_switch()   kernelstacks_park(): a thread for which there were too few frames waits for them
 *
 * Growth takes no lock, asks for no memory, and invalidates nothing: an entry that becomes valid was empty, and the TLB was
 * invalidated before it became so. Frames that a thread takes lower what the reserve has and what the stack lacks by the
 * same number, so the reserve never runs out. What a thread has taken is accounted for at its next switch.
 */
#ifndef KERNELSTACKS_FAULT_H
#define KERNELSTACKS_FAULT_H

#include <asm/alternative.h>
#include <asm/stack_pointer.h>

#include "frames.h"

/* What kernelstacks_reserve() has found. `margin` is where prev's park margin ends. */
void kernelstacks_refill_reserve(struct task_struct *prev, struct task_struct *next, unsigned long margin);

/* What this_cpu_ptr() adds, of which a compiler that optimizes for size makes a call at each switch. Preemption is off. */
static __always_inline unsigned long kernelstacks_cpu_offset(void)
{
	unsigned long offset;

	asm volatile(ALTERNATIVE("mrs %0, tpidr_el1", "mrs %0, tpidr_el2", ARM64_HAS_VIRT_HOST_EXTN) : "=r" (offset));
	return offset;
}

/* A field of kernelstacks_cpu on this CPU. Preemption is off. */
#define kernelstacks_on_this_cpu(field) \
	((typeof(kernelstacks_cpu.field) *)((unsigned long)&kernelstacks_cpu.field + kernelstacks_cpu_offset()))

/* Before the switch: the run queue is locked, interrupts are off. */
static __always_inline void kernelstacks_reserve(struct task_struct *prev, struct task_struct *next)
{
	unsigned long margin = current_stack_pointer - PARK_MARGIN;

	/* In the top page bits 13:12 are 11. Threads of the kernel have all pages from the beginning. */
	if (unlikely(!(margin & 2 * PAGE_SIZE) || !(margin & PAGE_SIZE) ||
		     (keeps_all_pages(prev) && !(prev->flags & PF_KTHREAD)) ||
		     *kernelstacks_on_this_cpu(set[0].count) < MOST_MISSING))
		kernelstacks_refill_reserve(prev, next, margin);
}

#endif
