// SPDX-License-Identifier: GPL-2.0
/* A walk over the threads that have stacks of ours (threads.h). */

#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>

#include "threads.h"

void kernelstacks_visit_threads(void (*visit)(struct task_struct *task, struct slot_record *record, void *context),
				void *context)
{
	struct task_struct *group, *task;

	rcu_read_lock();
	for_each_process_thread(group, task) {
		if (!try_get_task_stack(task))
			continue;
		if (record_of_task(task))
			visit(task, record_of_task(task), context);
		put_task_stack(task);
	}
	rcu_read_unlock();
}

static void count_stack(struct task_struct *task, struct slot_record *record, void *context)
{
	struct stack_counts *counts = context;
	unsigned int pages = STACK_PAGES - READ_ONCE(record->missing);

	if (task->flags & PF_KTHREAD)
		counts->kernel[pages]++;
	else
		counts->user[pages]++;
}

void kernelstacks_count_stacks(struct stack_counts *counts)
{
	*counts = (struct stack_counts){};
	kernelstacks_visit_threads(count_stack, counts);
}
