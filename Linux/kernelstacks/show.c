// SPDX-License-Identifier: GPL-2.0
/* /sys/kernel/debug/kernel_stacks: `stats`, how stacks grow and have grown; `stacks`, a line for each live stack. */

#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include "growth.h"
#include "threads.h"

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

static void show_stack(struct task_struct *task, struct slot_record *record, void *file)
{
	unsigned int missing = READ_ONCE(record->missing);

	seq_printf(file, "%7d %-16s %-6s %6lu %6lu\n", task->pid, task->comm, task->flags & PF_KTHREAD ? "kernel" : "user",
		   THREAD_SIZE - missing * PAGE_SIZE, high_water_mark(record, missing));
}

static int stacks_show(struct seq_file *file, void *unused)
{
	seq_puts(file, "    pid command          thread mapped deepest (bytes)\n");
	/* Reads all pages that a thread has: none is given back meanwhile. */
	mutex_lock(&kernelstacks_shrinking);
	kernelstacks_visit_threads(show_stack, file);
	mutex_unlock(&kernelstacks_shrinking);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stacks);

static void show_counts(struct seq_file *file, const char *whose, const unsigned long *counts)
{
	unsigned long threads = 0, pages = 0;
	int i;

	for (i = 0; i <= STACK_PAGES; i++) {
		threads += counts[i];
		pages += i * counts[i];
	}
	seq_printf(file, "%s threads: %lu, %lu bytes of stacks\n", whose, threads, pages * PAGE_SIZE);
}

static int stats_show(struct seq_file *file, void *unused)
{
	struct growth_figures figures;
	struct stack_counts counts;

	kernelstacks_growth_figures(&figures);
	kernelstacks_count_stacks(&counts);
	seq_printf(file, "grows: %s\n", !kernelstacks_grows() ? "no" : kernelstacks_grows_on_fault() ? "on a fault" : "lent");
	seq_printf(file, "pages lent: %lu\n", figures.lent);
	/* Of running threads' pages it is open yet which. */
	seq_printf(file, "pages taken back: %lu\n", figures.lent - figures.kept);
	seq_printf(file, "pages kept: %lu\n", figures.kept);
	seq_printf(file, "pages given back: %lu\n", figures.given_back);
	seq_printf(file, "pages kept now: %ld\n", figures.kept_now);
	seq_printf(file, "threads parked: %lu\n", figures.parked);
	seq_printf(file, "parked now: %u\n", figures.waiting);
	seq_printf(file, "most parked at a time: %u\n", figures.most_waiting);
	seq_printf(file, "deepest parking: %lu bytes\n", figures.deepest_park);
	seq_printf(file, "pool: %u pages\n", figures.pool);
	seq_printf(file, "of CPUs: %u pages\n", figures.in_sets);
	seq_printf(file, "kstackd asked: %lu\n", figures.kicks);
	show_counts(file, "users'", counts.user);
	show_counts(file, "kernel's", counts.kernel);
	seq_printf(file, "stacks of one page: %lu\n", counts.user[1] + counts.kernel[1]);
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
