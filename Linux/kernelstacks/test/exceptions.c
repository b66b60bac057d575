// SPDX-License-Identifier: GPL-2.0
/* What an exception from the kernel takes, by where the stack pointer is, and what a page that is needed takes. */

#include <linux/compiler.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/uaccess.h>
#include <asm/stack_pointer.h>

#include "test.h"

#define ROUNDS 100

/* A read of the guard below the stack, which is refused: an exception, and back. */
static noinline u32 count_exception(void)
{
	unsigned long word;
	u32 before;
	int i;

	before = kernelstacks_instructions();
	for (i = 0; i < ROUNDS; i++)
		copy_from_kernel_nofault(&word, task_stack_page(current) - PAGE_SIZE, sizeof(word));
	return (kernelstacks_instructions() - before) / ROUNDS;
}

static noinline u32 count_exception_below_top(void)
{
	volatile unsigned char *frame = __builtin_alloca(8192);

	frame[0] = 1;
	return count_exception();
}

/* To the lower end of a frame as large as a page. */
static noinline void store(void)
{
	volatile unsigned char *frame = __builtin_alloca(4096);

	frame[0] = 1;
}

static u32 count_store(void)
{
	u32 before = kernelstacks_instructions();

	store();
	return kernelstacks_instructions() - before;
}

int kernelstacks_measure_exceptions(char *result)
{
	unsigned long flags;
	u32 first, again, top, below;

	local_irq_save(flags);
	first = count_store();
	again = count_store();
	top = count_exception();
	below = count_exception_below_top();
	local_irq_restore(flags);
	snprintf(result, RESULT_BYTES, "\"inTopPage\":%u,\"belowTopPage\":%u,\"pageThatIsNeeded\":%d", top, below,
		 (int)(first - again));
	return 0;
}
