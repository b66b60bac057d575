// SPDX-License-Identifier: GPL-2.0
/* /proc/kernelstacks: a line written is a command; what is read is the result of the last one. */

#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "test.h"

static DEFINE_MUTEX(lock);
static char result[RESULT_BYTES];

static int execute(const char *line)
{
	unsigned int first, second;
	u64 seed;

	if (sscanf(line, "fragment %u %llu", &first, &seed) == 2)
		return kernelstacks_fragment(first, seed, result);
	if (sscanf(line, "measure %u", &first) == 1)
		return kernelstacks_measure(first, result);
	if (sscanf(line, "refuse %u", &first) == 1)
		return kernelstacks_refuse(first);
	if (!strcmp(line, "release"))
		return kernelstacks_release();
	if (!strcmp(line, "figures"))
		return kernelstacks_figures(result);
	if (!strcmp(line, "watch-depths"))
		return kernelstacks_watch_depths();
	if (!strcmp(line, "depths"))
		return kernelstacks_depths(result);
	if (!strcmp(line, "settle"))
		return kernelstacks_settle();
	if (!strcmp(line, "drain"))
		return kernelstacks_drain_all();
	if (!strcmp(line, "count-instructions")) {
		kernelstacks_count_instructions();
		return 0;
	}
	if (!strcmp(line, "measure-exceptions"))
		return kernelstacks_measure_exceptions(result);
	if (!strcmp(line, "free-twice"))
		return kernelstacks_free_twice(result);
	if (!strcmp(line, "free-many-twice"))
		return kernelstacks_free_many_twice();
	if (!strcmp(line, "reuse"))
		return kernelstacks_reuse(result);
	if (!strcmp(line, "free-foreign"))
		return kernelstacks_free_foreign();
	if (!strcmp(line, "overflow"))
		return kernelstacks_overflow();
	if (!strcmp(line, "freeze"))
		return kernelstacks_freeze(true);
	if (!strcmp(line, "thaw"))
		return kernelstacks_freeze(false);
	if (!strcmp(line, "hold"))
		return kernelstacks_hold(true);
	if (!strcmp(line, "let-go"))
		return kernelstacks_hold(false);
	if (!strcmp(line, "wake-waiting"))
		return kernelstacks_wake_waiting(false);
	if (!strcmp(line, "wake-for-frames"))
		return kernelstacks_wake_waiting(true);
	if (!strcmp(line, "keep-waiting"))
		return kernelstacks_keep_waiting(true);
	if (!strcmp(line, "go-on"))
		return kernelstacks_keep_waiting(false);
	if (!strcmp(line, "switch-with-lock"))
		return kernelstacks_switch_with_lock();
	if (!strcmp(line, "empty-set"))
		return kernelstacks_empty_set();
	if (!strcmp(line, "wake-before-sleep"))
		return kernelstacks_wake_before_sleep();
	if (sscanf(line, "wake-in-turn %u", &first) == 1)
		return kernelstacks_wake_in_turn(first);
	if (!strcmp(line, "queue"))
		return kernelstacks_queue(result);
	if (!strcmp(line, "grow-when-charged"))
		return kernelstacks_grow_when_charged();
	if (!strcmp(line, "grow-at-exit"))
		return kernelstacks_grow_at_exit();
	if (!strcmp(line, "lending"))
		return kernelstacks_lending(result);
	if (sscanf(line, "meet-exception %u %u", &first, &second) == 2)
		return kernelstacks_meet_exception(first, second);
	if (sscanf(line, "refuse-cpu %u", &first) == 1)
		return kernelstacks_refuse_cpu(first);
	return -EINVAL;
}

static ssize_t write_command(struct file *file, const char __user *text, size_t length, loff_t *position)
{
	char line[64];
	unsigned int first;
	u64 pause;
	int error;

	if (length >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, text, length))
		return -EFAULT;
	line[length] = 0;
	/* Many threads at once do this; it has no result. */
	if (sscanf(line, "recurse %u %llu", &first, &pause) == 2)
		return kernelstacks_recurse(first, pause) ?: length;
	/* Others have commands meanwhile. */
	if (sscanf(line, "wait-as %u", &first) == 1)
		return kernelstacks_wait_as(first) ?: length;
	mutex_lock(&lock);
	error = execute(strim(line));
	mutex_unlock(&lock);
	return error ? error : length;
}

static ssize_t read_result(struct file *file, char __user *text, size_t length, loff_t *position)
{
	ssize_t count;

	mutex_lock(&lock);
	count = simple_read_from_buffer(text, length, position, result, strlen(result));
	mutex_unlock(&lock);
	return count;
}

static const struct proc_ops operations = {
	.proc_read = read_result,
	.proc_write = write_command,
};

static int __init create_file(void)
{
	return proc_create("kernelstacks", 0600, NULL, &operations) ? 0 : -ENOMEM;
}
late_initcall(create_file);
