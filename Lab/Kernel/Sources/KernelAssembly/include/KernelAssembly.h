// The assembly functions that Swift calls, and the addresses that the linker script defines.
#ifndef KERNEL_ASSEMBLY_H
#define KERNEL_ASSEMBLY_H

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

#include <stdint.h>

#include "frame_layout.h"
#include "memory_model_page.h"

// Linker symbols: kernel_NAME() is the address of NAME.
#define KERNEL_SYMBOL(name) \
  extern char name[]; \
  static inline uintptr_t kernel_##name(void) { return (uintptr_t)name; }

KERNEL_SYMBOL(image_start)
KERNEL_SYMBOL(text_end)
KERNEL_SYMBOL(rodata_end)
KERNEL_SYMBOL(image_end)
KERNEL_SYMBOL(early_tables)
KERNEL_SYMBOL(early_frames)
KERNEL_SYMBOL(early_frames_end)
KERNEL_SYMBOL(empty_table)
KERNEL_SYMBOL(boot_stack_guard)
KERNEL_SYMBOL(boot_stack)
KERNEL_SYMBOL(boot_stack_top)
KERNEL_SYMBOL(emergency_stack_guard)
KERNEL_SYMBOL(emergency_stack)

KERNEL_SYMBOL(boot_task)
KERNEL_SYMBOL(cpu_records)
KERNEL_SYMBOL(emergency_stack_tops)
KERNEL_SYMBOL(secondary_start)
KERNEL_SYMBOL(secondary_spin_start)
KERNEL_SYMBOL(secondary_rest)
KERNEL_SYMBOL(spin_list)
KERNEL_SYMBOL(bare_stacks)
KERNEL_SYMBOL(kernel_frames)
KERNEL_SYMBOL(kernel_arena)
KERNEL_SYMBOL(kernel_stacks)
KERNEL_SYMBOL(kernel_processes)
KERNEL_SYMBOL(kernel_scheduler)
KERNEL_SYMBOL(kernel_board)
KERNEL_SYMBOL(kernel_memory_map)
KERNEL_SYMBOL(console_lock)
KERNEL_SYMBOL(self_test_lock)
KERNEL_SYMBOL(self_test_words)
KERNEL_SYMBOL(model_page)
KERNEL_SYMBOL(start_thread)
KERNEL_SYMBOL(probe_begin)
KERNEL_SYMBOL(probe_end)
KERNEL_SYMBOL(probe_recover)

// boot.S
void switch_kernel_tables(uint64_t ttbr1, uint64_t tcr, uint64_t image_physical_base, uint64_t empty_root);

// vectors.S
void use_exception_stack(uintptr_t top);
uint64_t probe_load(uintptr_t address);
uint64_t probe_store(uintptr_t address);
uint64_t probe_call(uintptr_t address);

// Fills the current stack from `lowest` up to the stack pointer with words that encode their address and `owner`, and verifies
// them; returns 1 if all held. Pages below the stack pointer of a thread that does not run may be taken: see
// proveStack(downTo:owner:).
uint64_t prove_stack(uintptr_t lowest, uint64_t owner);

// Recurses without end, by stack frames of 64 bytes.
void overflow_stack(void);

// Sets a wrong frame pointer, and faults.
void fault_with_frame_pointer(uintptr_t value) __attribute__((noreturn));

// Sets a wrong stack pointer, then: 0 calls the scheduler, 1 waits for an interrupt, 2 stores.
void load_stack_pointer(uintptr_t value, uint64_t how);

// The routines of memory.S (CAArch64), under names that the compiler does not know.
void kernel_copy(void *to, const void *from, intptr_t count) __asm__("memmove");
void kernel_fill(void *to, int value, intptr_t count) __asm__("memset");
int kernel_compare(const void *a, const void *b, intptr_t count) __asm__("memcmp");

// Enters the scheduler from thread code, by an exception.
static inline void kernel_enter_scheduler(void) { __asm__ volatile("svc #0" ::: "memory"); }

// Has a memory model outside the machine carry out the command in the page.
static inline void kernel_tell_memory_model(void) {
  uint64_t value;
  __asm__ volatile("hint %1\n\tldr %0, [%2]" : "=&r"(value) : "i"(MEMORY_MODEL_HINT), "r"(model_page) : "memory");
}

// Grows the current thread's stack from thread code, by an exception, and keeps the pages from being taken.
struct kernel_ensured {
  uint64_t failed;  // 0, or 1 if the stack has too few bytes
  uint64_t value;   // the floor to go back to, or how many bytes the stack has
};
#define KERNEL_SVC_ENSURE 1
static inline struct kernel_ensured kernel_ensure_stack(int64_t byte_count) {
  register uint64_t x0 __asm__("x0") = (uint64_t)byte_count;
  register uint64_t x1 __asm__("x1");
  __asm__ volatile("svc #1" : "+r"(x0), "=r"(x1)::"memory");
  return (struct kernel_ensured){x0, x1};
}

#endif
#endif
