/* SPDX-License-Identifier: GPL-2.0 */
/* What entry.h knows of records: included by arch/arm64/kernel/asm-offsets.c (Linux/apply --entry-patch). */
#ifdef CONFIG_SWIFT_KERNEL_STACKS_ENTRY

#include "record.h"

void kernelstacks_offsets(void);
void kernelstacks_offsets(void)
{
	DEFINE(TSK_STACK_VM_AREA,		offsetof(struct task_struct, stack_vm_area));
	DEFINE(KERNELSTACKS_LOW,		offsetof(struct slot_record, low));
	DEFINE(KERNELSTACKS_SAVED_X1,		offsetof(struct slot_record, saved_x1));
}

#endif
