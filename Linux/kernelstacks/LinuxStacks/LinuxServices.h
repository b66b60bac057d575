/* SPDX-License-Identifier: MIT */
// What the Linux kernel supplies to the Swift allocator: one C function each, all callable at EL1 in process context,
// those marked (atomic) also with interrupts off.

#pragma once

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

// Page frames. A frame is named by its page frame number; 0 means that there was none.
// Node -1 is the current CPU's. (atomic), if it may not wait.
uintptr_t swift_stacks_alloc_pages(unsigned int order, int node, bool zero, bool wait);
void swift_stacks_free_pages(uintptr_t frame, unsigned int order);           // (atomic)
int swift_stacks_page_to_nid(uintptr_t frame);                               // (atomic)
size_t swift_stacks_total_pages(void);
size_t swift_stacks_free_page_count(void);
unsigned int swift_stacks_node_count(void);

// Address space and its last-level entries.
uintptr_t swift_stacks_reserve_area(size_t size, size_t align, size_t phase); // 0: no room
uintptr_t swift_stacks_leaf_entry(uintptr_t address, int node); // physical address of the entry, 0: no memory; may sleep
unsigned int swift_stacks_va_bits(void);

// These do not change once the allocator is made.
extern uint64_t swift_stacks_attributes;  // pfn_pte(0, PAGE_KERNEL)
extern uintptr_t swift_stacks_map_offset; // of the linear map
static inline uint64_t swift_stacks_page_attributes(void) { return swift_stacks_attributes; }
static inline uintptr_t swift_stacks_linear_map_offset(void) { return swift_stacks_map_offset; }

// The CPU and the MMU (atomic).
void swift_stacks_flush_tlb_kernel_range(uintptr_t start, uintptr_t end);
void swift_stacks_clear(uintptr_t address, size_t size);
unsigned int swift_stacks_cpu(void);
unsigned int swift_stacks_cpu_count(void);
int swift_stacks_cpu_node(void);
uintptr_t swift_stacks_irq_save(void);
void swift_stacks_irq_restore(uintptr_t flags);
uintptr_t swift_stacks_lock(uint64_t *lock);
void swift_stacks_unlock(uint64_t *lock, uintptr_t flags);

// Page-table entries: one store each, and the barriers that publish them.
static inline uint64_t swift_stacks_read_entry(uintptr_t address) { return *(volatile uint64_t *)address; }
static inline void swift_stacks_write_entry(uintptr_t address, uint64_t entry) {
  *(volatile uint64_t *)address = entry;
}
static inline void swift_stacks_complete_accesses(void) { __asm__ volatile("dsb ish" ::: "memory"); }
static inline void swift_stacks_publish_entries(void) { __asm__ volatile("dsb ishst; isb" ::: "memory"); }
