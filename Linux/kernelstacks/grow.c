// SPDX-License-Identifier: GPL-2.0
/* On which CPUs pages are lent (lend.h), from when on, and the figures of it. */

#include <linux/cpuhotplug.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/percpu.h>
#include <asm/cpufeature.h>

#include "frames.h"
#include "growth.h"
#include "pool.h"

DEFINE_PER_CPU(struct cpu_frames, kernelstacks_cpu);

bool kernelstacks_is_growing __read_mostly;

/* A CPU's frames go back. It runs no thread, or never has. */
void kernelstacks_empty_sets(unsigned int cpu)
{
	struct cpu_frames *its = per_cpu_ptr(&kernelstacks_cpu, cpu);
	int i;

	for (i = 0; i < 2; i++) {
		struct frame_set *set = &its->set[i];

		while (set->count)
			__free_page(page_of_frame(set->frame[--set->count]));
	}
}

/*
 * On a CPU that comes online, before threads of users can run there: it must set access flags, by its own account and by
 * what was set up.
 */
static int check_cpu(unsigned int cpu)
{
	unsigned long features = read_cpuid(ID_AA64MMFR1_EL1);

	if (cpuid_feature_extract_unsigned_field(features, ID_AA64MMFR1_EL1_HAFDBS_SHIFT) &&
	    read_sysreg(tcr_el1) & TCR_HA && !kernelstacks_is_refused(cpu))
		return 0;
	pr_err("kernelstacks: CPU %u does not set access flags (FEAT_HAFDBS)%s\n", cpu,
	       kernelstacks_is_growing ? ", which growing stacks need: it stays offline" : "");
	return -EINVAL;
}

/* Whether the CPU that starts the system is fit for lending; the others are not there yet. */
bool __init kernelstacks_may_grow(void)
{
	u64 features = read_sanitised_ftr_reg(SYS_ID_AA64ISAR0_EL1);

	return cpu_has_hw_af() && cpuid_feature_extract_unsigned_field(features, ID_AA64ISAR0_EL1_ATOMIC_SHIFT) >= 2;
}

/* When all CPUs are there, and no program of a user has run: until here all stacks are whole. */
static int __init start_lending(void)
{
	unsigned int cpu;
	int state;

	for_each_possible_cpu(cpu) {
		struct cpu_frames *its = per_cpu_ptr(&kernelstacks_cpu, cpu);

		its->spare = &its->set[0];
	}
	if (!cpu_has_hw_af() || !cpus_have_final_cap(ARM64_HAS_LSE_ATOMICS)) {
		pr_info("kernelstacks: stacks are whole, because not all CPUs set access flags (FEAT_HAFDBS, FEAT_LSE)\n");
		return 0;
	}
	state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "kernelstacks:online", check_cpu, NULL);
	kernelstacks_is_growing = state >= 0 && !kernelstacks_start_pool();
	if (kernelstacks_is_growing) {
		pr_info("kernelstacks: stacks grow: pages that a thread has not touched are lent to it while it runs\n");
		return 0;
	}
	if (state >= 0)
		cpuhp_remove_state(state);
	pr_err("kernelstacks: stacks are whole, because lending could not be started\n");
	return 0;
}
core_initcall(start_lending);

void kernelstacks_growth_figures(struct growth_figures *figures)
{
	unsigned int cpu;

	*figures = (struct growth_figures){
		.pool = READ_ONCE(kernelstacks_pool.count), .kicks = READ_ONCE(kernelstacks_pool.kicks),
		.given_back = kernelstacks_given_back(),
	};
	kernelstacks_parking_figures(figures);
	for_each_possible_cpu(cpu) {
		struct cpu_frames *its = per_cpu_ptr(&kernelstacks_cpu, cpu);

		figures->lent += READ_ONCE(its->lent);
		figures->kept += READ_ONCE(its->kept);
		figures->kept_now += READ_ONCE(its->kept) - READ_ONCE(its->ended);
		figures->parked += READ_ONCE(its->parked);
		figures->in_sets += READ_ONCE(its->set[0].count) + READ_ONCE(its->set[1].count);
	}
	figures->kept_now -= figures->given_back;
}

unsigned long kernelstacks_spare_pages(void)
{
	struct growth_figures figures;

	kernelstacks_growth_figures(&figures);
	return figures.pool + figures.in_sets;
}
