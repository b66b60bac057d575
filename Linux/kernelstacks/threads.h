/* SPDX-License-Identifier: GPL-2.0 */
/* The threads that have stacks of ours: all but the first of each CPU's idle threads. */
#ifndef KERNELSTACKS_THREADS_H
#define KERNELSTACKS_THREADS_H

#include <linux/mutex.h>

#include "record.h"

/* Held while threads give pages back. */
extern struct mutex kernelstacks_shrinking;

/* Calls `visit` for each of them, as a reader of RCU. Its stack stays meanwhile; under `kernelstacks_shrinking`, so do its pages. */
void kernelstacks_visit_threads(void (*visit)(struct task_struct *task, struct slot_record *record, void *context),
				void *context);

/* How many threads have so many pages of their own. */
struct stack_counts {
	unsigned long user[STACK_PAGES + 1], kernel[STACK_PAGES + 1];
};
void kernelstacks_count_stacks(struct stack_counts *counts);

#endif
