// SPDX-License-Identifier: GPL-2.0
/*
 * How deep threads have been in their kernel stacks: down to the lowest word that is not zero. Linux, and KernelStacks,
 * hand stacks out as zero; the word at the very end is Linux's own mark.
 *
 * Threads that end are looked at by a probe on the last thing that they do on their stacks; its own frames lie where
 * do_exit's callees have been, so it adds little or nothing.
 */

#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>

#include "../growth.h"
#include "test.h"

struct depths {
	unsigned long threads, within_page, within_two_pages, deepest;
};

static struct depths ended;
static DEFINE_RAW_SPINLOCK(lock);

static void add(struct depths *depths, struct task_struct *task)
{
	unsigned long *end = end_of_stack(task), *top = (void *)end + THREAD_SIZE, *word = end + 1;
	unsigned long used;

	while (word < top && !READ_ONCE(*word))
		word++;
	used = (void *)top - (void *)word;
	depths->threads++;
	depths->within_page += used <= PAGE_SIZE;
	depths->within_two_pages += used <= 2 * PAGE_SIZE;
	depths->deepest = max(depths->deepest, used);
}

static int add_ended(struct kprobe *probe, struct pt_regs *registers)
{
	raw_spin_lock(&lock);
	add(&ended, current);
	raw_spin_unlock(&lock);
	return 0;
}

static struct kprobe ending = { .symbol_name = "exit_task_stack_account", .pre_handler = add_ended };

int kernelstacks_watch_depths(void)
{
	/* Looking would make pages that are lent the thread's. */
	if (kernelstacks_grows())
		return -EOPNOTSUPP;
	return register_kprobe(&ending);
}

int kernelstacks_depths(char *result)
{
	struct task_struct *group, *thread;
	struct depths all = ended;

	if (kernelstacks_grows())
		return -EOPNOTSUPP;
	rcu_read_lock();
	for_each_process_thread(group, thread) {
		if (!try_get_task_stack(thread))
			continue;
		add(&all, thread);
		put_task_stack(thread);
	}
	rcu_read_unlock();
	snprintf(result, RESULT_BYTES,
		 "\"threads\":%lu,\"withinFirstPage\":%lu,\"within8KiB\":%lu,\"deepestBytes\":%lu",
		 all.threads, all.within_page, all.within_two_pages, all.deepest);
	return 0;
}
