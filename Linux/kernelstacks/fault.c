// SPDX-License-Identifier: GPL-2.0
/* Growth on a fault (fault.h): the pages are mapped, and the reserve that they come from is filled. */

#include <linux/instrumentation.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/percpu.h>
#include <asm/barrier.h>
#include <asm/esr.h>
#include <asm/ptrace.h>
#include <asm/stack_pointer.h>
#include <asm/sysreg.h>

#include "entry.h"
#include "fault.h"
#include "growth.h"

DEFINE_STATIC_KEY_FALSE(kernelstacks_fault_key);
DEFINE_PER_CPU(unsigned long [KERNELSTACKS_GROWTH_STACK / sizeof(long)], kernelstacks_growth_stack) __aligned(16);

unsigned long kernelstacks_grow_on_fault(unsigned long registers, bool is_sync);

/* Looks whether a frame may be mapped. It takes some stack, which may grow meanwhile. */
static __always_inline void check_growth(const struct slot_record *record, const struct frame_set *reserve)
{
	if (!IS_ENABLED(CONFIG_SWIFT_KERNEL_STACKS_CHECK_LENT))
		return;
	instrumentation_begin();
	kernelstacks_check_lendable(record);
	if (reserve->count)
		kernelstacks_check_untouched(&reserve->frame[reserve->count - 1], 1);
	instrumentation_end();
}

/* DAIF is masked, and no access here can fault, but in a check. */
static __always_inline void map_down_to(struct slot_record *record, unsigned long address)
{
	struct frame_set *reserve = &raw_cpu_ptr(&kernelstacks_cpu)->set[0];
	unsigned long start = (unsigned long)record->area.addr;
	unsigned int page = address > start ? (address - start) / PAGE_SIZE : 0, missing;

	for (check_growth(record, reserve); record->missing > page; check_growth(record, reserve)) {
		if (unlikely(!reserve->count)) {
			instrumentation_begin();
			panic("kernelstacks: no frame for the stack 0x%lx, which lacks %u pages, at 0x%lx\n", start, record->missing,
			      address);
			instrumentation_end();
		}
		missing = record->missing - 1;
		reserve->count--;
		WRITE_ONCE(record->entries[missing], reserve->frame[reserve->count] | PTE_AF);
		WRITE_ONCE(record->missing, missing);
		record->low = start + missing * PAGE_SIZE;
	}
	dsb(ishst);
	isb();
}

/*
 * From exception entry, on this CPU's growth stack, for the running thread: too little is mapped for `registers` to be stored
 * there. Whether that was all the reason for the exception, so that the access is to be repeated.
 */
asmlinkage noinstr unsigned long kernelstacks_grow_on_fault(unsigned long registers, bool is_sync)
{
	struct slot_record *record = record_of_task(current);
	unsigned long before = record->low, esr, far;

	map_down_to(record, registers + sizeof(struct pt_regs) - KERNELSTACKS_REACH);
	if (!is_sync)
		return false;
	esr = read_sysreg(esr_el1);
	far = read_sysreg(far_el1);
	return ESR_ELx_EC(esr) == ESR_ELx_EC_DABT_CUR && (esr & ESR_ELx_FSC_TYPE) == ESR_ELx_FSC_FAULT &&
	       far >= record->low && far < before;
}

/* Maps pages of the running thread's stack, for which there are frames. Interrupts are off. */
static noinstr void map_margin(struct slot_record *record, unsigned long margin)
{
	unsigned long flags = read_sysreg(daif);

	/* What this function needs is mapped by the fault of an access: from here on nothing grows but by its own stores. */
	READ_ONCE(*(u8 *)(current_stack_pointer - 256));
	asm volatile("msr daifset, #0xf" : : : "memory");
	map_down_to(record, margin);
	write_sysreg(flags, daif);
}

void kernelstacks_refill_reserve(struct task_struct *prev, struct task_struct *next, unsigned long margin)
{
	struct cpu_frames *cpu = raw_cpu_ptr(&kernelstacks_cpu);
	struct slot_record *record = record_of_task(prev);

	/* A thread that waits for frames stays within the margin that it had when it came. */
	if (record && !record->is_parked) {
		if (keeps_all_pages(prev))
			margin = (unsigned long)record->area.addr;
		if (margin < record->low)
			map_margin(record, margin);
		if (record->accounted != record->missing)
			kernelstacks_keep_grown(prev);
	}
	record = record_of_task(next);
	if (record && record->missing && cpu->set[0].count < MOST_MISSING)
		kernelstacks_refill(record, cpu);
}
