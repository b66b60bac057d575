// SPDX-License-Identifier: GPL-2.0
/* When freed stacks, which the allocator keeps for the next forks, go back: a CPU goes, memory is short, or time passes. */

#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/shrinker.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

#include "growth.h"
#include "record.h"
#include "stacks.h"
#include "versions.h"

void kernelstacks_drain(struct work_struct *work)
{
	swift_stacks_reclaim(kernelstacks_handle, LONG_MAX);
}

int kernelstacks_cpu_dead(unsigned int cpu)
{
	swift_stacks_reclaim_stopped(kernelstacks_handle, cpu);
	kernelstacks_empty_sets(cpu);
	return 0;
}

static unsigned long count_cached(struct shrinker *shrinker, struct shrink_control *control)
{
	long frames = swift_stacks_cached_frames(kernelstacks_handle);

	return frames > 0 ? frames : SHRINK_EMPTY;
}

/*
 * On each CPU: what it keeps, if it has been asked for that. By a worker, because the page allocator's locks are not for
 * interrupts: lockdep reports them there, and with PREEMPT_RT they sleep.
 */
static void serve(struct work_struct *work)
{
	swift_stacks_serve(kernelstacks_handle);
}

static DEFINE_PER_CPU(struct work_struct, serving);
static struct workqueue_struct *servers;

/* A CPU that goes offline meanwhile gives all back by itself. */
static void serve_on_each_cpu(void)
{
	unsigned int cpu;

	for_each_online_cpu(cpu)
		queue_work_on(cpu, servers, per_cpu_ptr(&serving, cpu));
}

static unsigned long scan_cached(struct shrinker *shrinker, struct shrink_control *control)
{
	long frames = swift_stacks_reclaim(kernelstacks_handle, control->nr_to_scan);

	if (frames < (long)control->nr_to_scan)
		serve_on_each_cpu();
	return frames > 0 ? frames : SHRINK_STOP;
}

static struct shrinker cache_shrinker = {
	.count_objects = count_cached,
	.scan_objects = scan_cached,
	.batch = STACK_PAGES,
};

/* Stacks that nobody has wanted for a while go back, also while no memory is short. An idle CPU is not woken for it. */
static void age(struct work_struct *work);
static DECLARE_DEFERRABLE_WORK(aging, age);

static void age(struct work_struct *work)
{
	swift_stacks_age(kernelstacks_handle);
	schedule_delayed_work(&aging, HZ);
}

static int __init register_cache_shrinker(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		INIT_WORK(per_cpu_ptr(&serving, cpu), serve);
	/* Memory may be short when it has work. */
	servers = alloc_workqueue("kernelstacks", WQ_MEM_RECLAIM, 0);
	if (!servers)
		return -ENOMEM;
	schedule_delayed_work(&aging, HZ);
	return kernelstacks_register_shrinker(&cache_shrinker, "kernelstacks");
}
core_initcall(register_cache_shrinker);
