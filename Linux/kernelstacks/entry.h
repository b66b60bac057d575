/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Growth on a fault (fault.h): exception entry looks before it stores. For arch/arm64/kernel/entry.S, which includes this
 * and calls three macros in kernel_ventry (Linux/apply --entry-patch), and for the C function that maps.
 *
 *                    |            |
 *     sp             +------------+
 *                    |  pt_regs   |   what entry stores
 *     sp - PT_REGS   +------------+
 *                    |   margin   |   what the interrupted instruction may have wanted (stp x, y, [sp, #-512]!), and the C
 *     sp - REACH     +------------+   functions before they have read ESR_EL1 and FAR_EL1
 *
 * Stacks are 16 KiB, at a multiple of 32 KiB, so bits 13:12 are 11 in the top page alone, which is always mapped: two
 * instructions decide. Below it, what is mapped is known from the record of the running thread's stack. If it is too little,
 * all pages down to sp - REACH are mapped, on a stack of this CPU's, before anything else has been done for the exception;
 * then either the access is repeated, or the exception goes on.
 *
 * DAIF is masked. No register is free: TPIDRRO_EL0, zero in the kernel where no program has 32 bits, keeps x0 for a while.
 */
#ifndef KERNELSTACKS_ENTRY_H
#define KERNELSTACKS_ENTRY_H

#define KERNELSTACKS_REACH 768
#define KERNELSTACKS_GROWTH_STACK 4096

#ifdef __ASSEMBLY__

	.set	.Lkernelstacks_margin_0t, 0
	.set	.Lkernelstacks_margin_1t, 0
#ifdef CONFIG_SWIFT_KERNEL_STACKS_ENTRY
	.set	.Lkernelstacks_margin_1h, KERNELSTACKS_REACH - PT_REGS_SIZE

	/* x0 = sp - REACH, sp = that + the interrupted x0. */
	.macro	kernelstacks_look, el, ht, label
	.ifc	\el\ht, 1h
	tbz	x0, #(PAGE_SHIFT + 1), .Lkernelstacks_below_top_\label
	tbz	x0, #PAGE_SHIFT, .Lkernelstacks_below_top_\label
	kernelstacks_below_top \label
	.endif
	.endm

	/* sp = the interrupted sp - REACH. */
	.macro	kernelstacks_found, el, ht
	.ifc	\el\ht, 1h
	add	sp, sp, #.Lkernelstacks_margin_1h
	.endif
	.endm

	/* The same as in kernelstacks_look, but sp - REACH is no place in a stack; where pt_regs will be may still be one. */
	.macro	kernelstacks_look_again, el, ht, label
	.ifc	\el\ht, 1h
	add	x0, x0, #.Lkernelstacks_margin_1h
	add	sp, sp, #.Lkernelstacks_margin_1h
	tbz	x0, #THREAD_SHIFT, .Lkernelstacks_at_bottom_\label
	.endif
	.endm

	/* At the end of the section, within reach of the branches. Alternatives use subsection 1. */
	.macro	kernelstacks_below_top, label
	.pushsection .entry.text, 2, "ax"
.Lkernelstacks_at_bottom_\label:
	sub	x0, sp, x0
	msr	tpidrro_el0, x0
	sub	sp, sp, x0			// where pt_regs will be
	mrs	x0, sp_el0			// current
	ldr	x0, [x0, #TSK_STACK_VM_AREA]
	cbz	x0, .Lkernelstacks_mapped_\label
	ldr	x0, [x0, #KERNELSTACKS_LOW]
	cmp	sp, x0
	b.lo	.Lkernelstacks_missing_\label
	b	.Lkernelstacks_mapped_\label

.Lkernelstacks_below_top_\label:
	sub	x0, sp, x0
	msr	tpidrro_el0, x0
	sub	sp, sp, x0			// the interrupted sp - REACH
	mrs	x0, sp_el0			// current
	ldr	x0, [x0, #TSK_STACK_VM_AREA]
	cbz	x0, .Lkernelstacks_first_task_\label
	ldr	x0, [x0, #KERNELSTACKS_LOW]
	cmp	sp, x0
	add	sp, sp, #.Lkernelstacks_margin_1h
	b.lo	.Lkernelstacks_missing_\label
.Lkernelstacks_mapped_\label:
	mrs	x0, tpidrro_el0
	msr	tpidrro_el0, xzr
	b	el1h_64_\label

.Lkernelstacks_first_task_\label:
	add	sp, sp, #.Lkernelstacks_margin_1h
	b	.Lkernelstacks_mapped_\label

.Lkernelstacks_missing_\label:
	mrs	x0, sp_el0
	ldr	x0, [x0, #TSK_STACK]
	cmp	sp, x0
	b.lo	.Lkernelstacks_mapped_\label	// another stack: of interrupts, of firmware
	mrs	x0, sp_el0
	ldr	x0, [x0, #TSK_STACK_VM_AREA]
	str	x1, [x0, #KERNELSTACKS_SAVED_X1]
	mov	x1, sp
	adr_this_cpu sp, kernelstacks_growth_stack + KERNELSTACKS_GROWTH_STACK - 176, x0
	stp	x18, x19, [sp, #144]
	mov	x19, x1				// where pt_regs will be
	mrs	x0, sp_el0
	ldr	x0, [x0, #TSK_STACK_VM_AREA]
	ldr	x1, [x0, #KERNELSTACKS_SAVED_X1]
	mrs	x0, tpidrro_el0
	msr	tpidrro_el0, xzr
	stp	x0, x1, [sp]
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	str	x30, [sp, #160]
	mov	x0, x19
	.ifc	\label, sync
	mov	w1, #1
	.else
	mov	w1, #0
	.endif
	bl	kernelstacks_grow_on_fault
	cmp	w0, #0				// the interrupted flags are in SPSR_EL1
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldr	x18, [sp, #144]
	ldr	x30, [sp, #160]
	ldr	x0, [sp]
	str	x0, [x19, #S_X0]		// mapped now
	ldr	x1, [sp, #8]
	ldr	x0, [sp, #152]
	mov	sp, x19
	mov	x19, x0
	ldr	x0, [sp, #S_X0]
	b.eq	el1h_64_\label			// the exception has another reason
	add	sp, sp, #PT_REGS_SIZE
	eret
	sb
	.popsection
	.endm
#else
	.set	.Lkernelstacks_margin_1h, 0

	.macro	kernelstacks_look, el, ht, label
	.endm
	.macro	kernelstacks_found, el, ht
	.endm
	.macro	kernelstacks_look_again, el, ht, label
	.endm
#endif

#endif

#endif
