// What Swift calls in assembly, and the addresses that the linker script defines.
#ifndef KERNEL_ASSEMBLY_H
#define KERNEL_ASSEMBLY_H

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

#include <stdint.h>
#include "frame_layout.h"

// Linker symbols: kernel_NAME() is the address of NAME.
#define KERNEL_SYMBOL(name) \
  extern char name[]; \
  static inline uintptr_t kernel_##name(void) { return (uintptr_t)name; }

KERNEL_SYMBOL(image_start)
KERNEL_SYMBOL(text_end)
KERNEL_SYMBOL(rodata_end)
KERNEL_SYMBOL(bss_end)
KERNEL_SYMBOL(image_end)
KERNEL_SYMBOL(early_tables)
KERNEL_SYMBOL(boot_stack_guard)
KERNEL_SYMBOL(boot_stack)
KERNEL_SYMBOL(boot_stack_top)
KERNEL_SYMBOL(idle_stack_guard)
KERNEL_SYMBOL(idle_stack)
KERNEL_SYMBOL(idle_stack_top)
KERNEL_SYMBOL(emergency_stack_guard)
KERNEL_SYMBOL(emergency_stack)
KERNEL_SYMBOL(emergency_stack_top)

// boot.S
void switch_kernel_tables(uint64_t ttbr1, uint64_t tcr, uint64_t image_physical_base);

#endif
#endif
