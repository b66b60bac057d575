// SPDX-License-Identifier: GPL-2.0
/* Whether stacks grow, in which way (lend.h, fault.h), from when on, and the figures of it. */

#include <linux/cpuhotplug.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/percpu.h>
#include <linux/string.h>
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

/* Whether the command line says that stacks are whole. */
static bool is_whole_wanted;

static int __init set_wanted(char *words)
{
	if (!words || strcmp(words, "whole"))
		return -EINVAL;
	is_whole_wanted = true;
	return 0;
}
early_param("kernelstacks", set_wanted);

/* Whether stacks can grow, as far as the CPU that starts the system shows; the others are not there yet. */
bool __init kernelstacks_may_grow(void)
{
	u64 features = read_sanitised_ftr_reg(SYS_ID_AA64ISAR0_EL1);

	if (is_whole_wanted)
		return false;
	return IS_ENABLED(CONFIG_SWIFT_KERNEL_STACKS_ENTRY) ||
	       (cpu_has_hw_af() && cpuid_feature_extract_unsigned_field(features, ID_AA64ISAR0_EL1_ATOMIC_SHIFT) >= 2);
}

static bool __init can_lend(void)
{
	return cpu_has_hw_af() && cpus_have_final_cap(ARM64_HAS_LSE_ATOMICS);
}

/* All later CPUs have to be fit for it, too. */
static int __init start_lending(void)
{
	int state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "kernelstacks:online", check_cpu, NULL);

	if (state < 0)
		return state;
	if (!kernelstacks_start_pool())
		return 0;
	cpuhp_remove_state(state);
	return -ENOMEM;
}

#ifdef CONFIG_SWIFT_KERNEL_STACKS_ENTRY
static int __init start_faulting(void)
{
	int error = kernelstacks_start_pool();

	if (!error)
		static_branch_enable(&kernelstacks_fault_key);
	return error;
}
#else
static int __init start_faulting(void) { return -ENODEV; }
#endif

/* When all CPUs are there, and no program of a user has run: until here all stacks are whole. */
static int __init start_growing(void)
{
	bool lends = can_lend();
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct cpu_frames *its = per_cpu_ptr(&kernelstacks_cpu, cpu);

		its->spare = &its->set[0];
	}
	if (is_whole_wanted) {
		pr_info("kernelstacks: stacks are whole, as the command line says\n");
		return 0;
	}
	if (!lends && !IS_ENABLED(CONFIG_SWIFT_KERNEL_STACKS_ENTRY)) {
		pr_info("kernelstacks: stacks are whole, because not all CPUs set access flags (FEAT_HAFDBS, FEAT_LSE)\n");
		return 0;
	}
	if (lends ? start_lending() : start_faulting()) {
		pr_err("kernelstacks: stacks are whole, because growth could not be started\n");
		return 0;
	}
	kernelstacks_is_growing = true;
	if (lends)
		pr_info("kernelstacks: stacks grow: pages that a thread has not touched are lent to it while it runs\n");
	else
		pr_info("kernelstacks: stacks grow: pages are mapped when an access to them faults\n");
	return 0;
}
core_initcall(start_growing);

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
