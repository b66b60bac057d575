// The parts of what this kernel shows.
#pragma once

#include "kernel_stacks.h"

// misuse.c: what is refused, before and after ks_init.
void show_bad_configurations(const ks_configuration *good);
void show_refusal(const char *what, ks_code code, const ks_error *error, ks_code expected);
// `linear` is null where frames are the kernel's own.
void show_misuse(ks_stacks *linear, ks_stacks *guarded);
void count_misuse(const ks_error *error);
extern uint64_t misuses;

// functions.c: what the kernel's own functions can get wrong, before and after the library is initialized.
void show_bad_functions(const ks_configuration *good);
void err_in_functions(void);
ks_code __real_ks_stacks_make(ks_stacks *stacks, const ks_stack_configuration *configuration, ks_error *error);
ks_code __real_ks_stacks_end(ks_stacks *stacks, ks_error *error);

// registers.c: registers that the library relies on are other than they have to be, before and after ks_init; others are not
// compared; and the kinds of memory that the MMU finds where the library has mapped something.
void show_unfit_registers(const ks_configuration *good);
void show_other_registers(void);
void check_kinds_of_memory(const ks_stacks *guarded, const ks_stacks *growing);
void check_memory_at(const void *address, uint64_t attribute);
#define WRITE_BACK_MEMORY 0xffull
#define DEVICE_MEMORY 0x04ull

// leave.c: threads that free the stack they run on.
void leave_stacks(void);

// memory.c: memory that is handed over later.
void show_early_changes(void);
void refuse_changes_of_own_frames(void);
void change_memory(const ks_stacks *stacks);

// pressure.c: frames of freed stacks are handed out when there are no others.
void use_freed_stacks(void);

// queries.c: places, growth by hand, and other calls.
void ask(const ks_stacks *linear, const ks_stacks *guarded, const ks_stacks *growing);

// narrow.c: a vmalloc area of VMALLOC_MIB MiB.
void use_narrow_area(ks_configuration configuration);

// lent.c: threads whose exceptions are taken on their own stacks.
void use_lent_pages(ks_configuration configuration);

// nodes.c: two nodes, and no function that may be left out.
void use_nodes(ks_configuration configuration);

// el1h.c: vectors made of the library's macros, for threads at EL1h.
void use_own_vectors(ks_configuration configuration);

// cpus.c: all CPUs at once; the storm does nothing with one CPU.
void storm(ks_stacks *stacks, uint32_t cpus);
void on_all_cpus(uint32_t cpus, void (*work)(uint32_t cpu));

// tasks.c: the README's example.
struct task;
bool tasks_begin(ks_error *error);
bool fork_task(struct task *task, int id, ks_error *error);
ks_code reap_task(struct task *task, ks_error *error);
