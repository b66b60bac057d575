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
	unsigned long threads, within[STACK_PAGES], deepest;
	char command[TASK_COMM_LEN];
};

/* Of all threads, and of those of users alone. */
struct all_depths {
	struct depths all, users;
};

static struct all_depths ended;
static DEFINE_RAW_SPINLOCK(lock);

static void add_to(struct depths *depths, struct task_struct *task, unsigned long used)
{
	unsigned long pages = max(DIV_ROUND_UP(used, PAGE_SIZE), 1UL);

	depths->threads++;
	for (; pages <= STACK_PAGES; pages++)
		depths->within[pages - 1]++;
	if (used <= depths->deepest)
		return;
	depths->deepest = used;
	strscpy(depths->command, task->comm, sizeof(depths->command));
}

static void add(struct all_depths *depths, struct task_struct *task)
{
	unsigned long *end = end_of_stack(task), *top = (void *)end + THREAD_SIZE, *word = end + 1;
	unsigned long used;

	while (word < top && !READ_ONCE(*word))
		word++;
	used = (void *)top - (void *)word;
	add_to(&depths->all, task, used);
	if (!(task->flags & PF_KTHREAD))
		add_to(&depths->users, task, used);
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
	struct all_depths depths;
	struct depths *users = &depths.users, *all = &depths.all;

	if (kernelstacks_grows())
		return -EOPNOTSUPP;
	raw_spin_lock_irq(&lock);
	depths = ended;
	raw_spin_unlock_irq(&lock);
	rcu_read_lock();
	for_each_process_thread(group, thread) {
		if (!try_get_task_stack(thread))
			continue;
		add(&depths, thread);
		put_task_stack(thread);
	}
	rcu_read_unlock();
	/* The name of a thread is whatever it likes. */
	strreplace(users->command, '"', '?');
	strreplace(users->command, '\\', '?');
	snprintf(result, RESULT_BYTES,
		 "\"threads\":%lu,\"withinFirstPage\":%lu,\"within8KiB\":%lu,\"within12KiB\":%lu,\"deepestBytes\":%lu,"
		 "\"userThreads\":%lu,\"userWithinFirstPage\":%lu,\"userWithin8KiB\":%lu,\"userWithin12KiB\":%lu,"
		 "\"userDeepestBytes\":%lu,\"userDeepest\":\"%s\"",
		 all->threads, all->within[0], all->within[1], all->within[2], all->deepest, users->threads, users->within[0],
		 users->within[1], users->within[2], users->deepest, users->command);
	return 0;
}
