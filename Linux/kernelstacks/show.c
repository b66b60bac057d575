// SPDX-License-Identifier: GPL-2.0
/* /sys/kernel/debug/kernel_stacks: `stats`, what was lent and taken back; `stacks`, a line for each live stack. */

#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>

#include "lending.h"
#include "record.h"

/* The bytes from the lowest word that is not zero up to the top, of the pages that are the thread's. */
static unsigned long high_water_mark(struct slot_record *record, unsigned int missing)
{
	void *top = record->area.addr + THREAD_SIZE;
	unsigned long *word = record->area.addr + missing * PAGE_SIZE;

	/* Only a stack that was whole at fork has the mark in its lowest word. */
	if (READ_ONCE(*word) == STACK_END_MAGIC)
		word++;
	while ((void *)word < top && !READ_ONCE(*word))
		word++;
	return top - (void *)word;
}

static void show_stack(struct seq_file *file, struct task_struct *task)
{
	struct slot_record *record = record_of_task(task);
	unsigned int missing = READ_ONCE(record->missing);

	seq_printf(file, "%7d %-16s %-6s %6lu %6lu\n", task->pid, task->comm, task->flags & PF_KTHREAD ? "kernel" : "user",
		   THREAD_SIZE - missing * PAGE_SIZE, high_water_mark(record, missing));
}

static int stacks_show(struct seq_file *file, void *unused)
{
	struct task_struct *group, *task;

	seq_puts(file, "    pid command          thread mapped deepest (bytes)\n");
	rcu_read_lock();
	for_each_process_thread(group, task) {
		/* Its pages stay as long as its stack is held: a thread's own are not taken back. */
		if (!try_get_task_stack(task))
			continue;
		if (record_of_task(task))
			show_stack(file, task);
		put_task_stack(task);
	}
	rcu_read_unlock();
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stacks);

static int stats_show(struct seq_file *file, void *unused)
{
	unsigned long threads[2] = {}, bytes[2] = {}, one_page = 0;
	struct task_struct *group, *task;
	struct lending_figures figures;

	kernelstacks_lending_figures(&figures);
	rcu_read_lock();
	for_each_process_thread(group, task) {
		struct slot_record *record = record_of_task(task);
		int is_user = !(task->flags & PF_KTHREAD);
		unsigned int missing;

		if (!record || !try_get_task_stack(task))
			continue;
		missing = READ_ONCE(record->missing);
		threads[is_user]++;
		bytes[is_user] += THREAD_SIZE - missing * PAGE_SIZE;
		one_page += missing == STACK_PAGES - 1;
		put_task_stack(task);
	}
	rcu_read_unlock();
	seq_printf(file, "lends: %d\n", kernelstacks_lends());
	seq_printf(file, "pages lent: %lu\n", figures.lent);
	/* Of running threads' pages it is open yet which. */
	seq_printf(file, "pages taken back: %lu\n", figures.lent - figures.kept);
	seq_printf(file, "pages kept: %lu\n", figures.kept);
	seq_printf(file, "threads parked: %lu\n", figures.parked);
	seq_printf(file, "parked now: %u\n", figures.waiting);
	seq_printf(file, "most parked at a time: %u\n", figures.most_waiting);
	seq_printf(file, "deepest parking: %lu bytes\n", figures.deepest_park);
	seq_printf(file, "pool: %u pages\n", figures.pool);
	seq_printf(file, "for lending: %u pages\n", figures.in_sets);
	seq_printf(file, "kstackd asked: %lu\n", figures.kicks);
	seq_printf(file, "users' threads: %lu, %lu bytes of stacks\n", threads[1], bytes[1]);
	seq_printf(file, "kernel's threads: %lu, %lu bytes of stacks\n", threads[0], bytes[0]);
	seq_printf(file, "stacks of one page: %lu\n", one_page);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static int __init create_files(void)
{
	struct dentry *folder = debugfs_create_dir("kernel_stacks", NULL);

	debugfs_create_file("stats", 0400, folder, NULL, &stats_fops);
	debugfs_create_file("stacks", 0400, folder, NULL, &stacks_fops);
	return 0;
}
late_initcall(create_files);
