/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included by force when kernel/sched/core.c is compiled, so that core.c needs no edit: it calls three functions at a
 * switch that have nothing else to do on arm64.
 */
#if !defined(__ASSEMBLY__) && defined(CONFIG_SWIFT_KERNEL_STACKS_GROWING)

#include <linux/sched.h>
#include <linux/sched/debug.h>
#include <linux/sched/task_stack.h>
#include <linux/vtime.h>

#include "fault.h"
#include "growth.h"
#include "lend.h"

static void __sched notrace __schedule(schedule_mode mode);

static void __sched kernelstacks_schedule(schedule_mode mode)
{
	__schedule(mode);
}

/* The mark is not at the end of a stack that grows, and a look would make its lowest page the thread's. */
#undef task_stack_end_corrupted
#define task_stack_end_corrupted(task) false

#define prepare_arch_switch(next)                           \
	do {                                                \
		if (kernelstacks_grows_on_fault())          \
			kernelstacks_reserve(prev, next);   \
		else                                        \
			kernelstacks_lend(next);            \
	} while (0)

/* The last call of finish_task_switch() before finish_task(), which lets another CPU run prev. */
#define vtime_task_switch(prev)               \
	do {                                          \
		if (!kernelstacks_grows_on_fault())   \
			kernelstacks_take_back(prev); \
		(vtime_task_switch)(prev);            \
	} while (0)

#define finish_arch_post_lock_switch()                            \
	do {                                                      \
		if (unlikely(kernelstacks_is_short()))            \
			kernelstacks_park(kernelstacks_schedule); \
	} while (0)

#endif
