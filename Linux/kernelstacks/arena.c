// SPDX-License-Identifier: GPL-2.0
/*
 * The addresses of stacks, their page tables, and what is known of each of them.
 *
 * The arena is one area of the vmalloc space, cut into slots of 32 KiB. A slot begins half its size above a multiple of
 * it, so that bit 14 is clear in every address of a stack and set in the guard below it, which is what the overflow
 * check of arch/arm64/kernel/entry.S tests:
 *
 *     area                 2 MiB multiple        + 32 KiB
 *      | guard of slot 0    | stack 0 | guard 1   | stack 1 | ...
 *      +--------------------+---------+-----------+---------+
 *                             16 KiB    16 KiB
 *
 * What fork.c wants to know of a stack besides, a vm_struct with its pages, lies in a record for each slot.
 */

#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <asm/tlbflush.h>

#include "LinuxStacks/LinuxServices.h"
#include "arena.h"
#include "growth.h"

#define SLOTS_PER_TABLE (PMD_SIZE / THREAD_ALIGN)
#define SLOTS_PER_RECORD_PAGE (PAGE_SIZE / sizeof(struct slot_record))
#define RECORD_PAGES DIV_ROUND_UP(SLOTS_PER_TABLE, SLOTS_PER_RECORD_PAGE)

/* What belongs to one last-level page table of the arena. Once there, it stays. */
struct slot_table {
	pte_t *entries;
	struct slot_record *records[RECORD_PAGES];
};

static struct vm_struct *arena;
static unsigned long first_window; /* a multiple of PMD_SIZE: the first stack */
static struct slot_table *tables;
static unsigned long table_count;
static atomic_long_t arena_pages;

static struct slot_record *record_in(const struct slot_table *table, unsigned long place)
{
	return &table->records[place / SLOTS_PER_RECORD_PAGE][place % SLOTS_PER_RECORD_PAGE];
}

struct slot_record *kernelstacks_record_of(unsigned long stack)
{
	unsigned long slot = (stack - first_window) / THREAD_ALIGN;
	struct slot_table *table;

	if (stack < first_window || stack % THREAD_ALIGN || slot / SLOTS_PER_TABLE >= table_count)
		return NULL;
	table = &tables[slot / SLOTS_PER_TABLE];
	/* Written last, when all records are there. */
	return smp_load_acquire(&table->entries) ? record_in(table, slot % SLOTS_PER_TABLE) : NULL;
}

/* What stays the same of the records of a table that is about to be there. */
static void initialize_records(struct slot_table *table, unsigned long stack, pte_t *entries)
{
	int place;

	for (place = 0; place < SLOTS_PER_TABLE; place++) {
		struct slot_record *record = record_in(table, place);

		record->area = (struct vm_struct){
			.addr = (void *)(stack + place * THREAD_ALIGN), .size = THREAD_SIZE, .flags = VM_MAP | VM_NO_GUARD,
			.pages = record->pages, .nr_pages = STACK_PAGES,
		};
		record->entries = (u64 *)(entries + place * (THREAD_ALIGN / PAGE_SIZE));
	}
}

struct vm_struct *kernelstacks_describe(unsigned long stack)
{
	unsigned long slot = (stack - first_window) / THREAD_ALIGN;
	struct slot_record *record = record_in(&tables[slot / SLOTS_PER_TABLE], slot % SLOTS_PER_TABLE);
	unsigned int missing = STACK_PAGES;

	/* A thread that dies in an oops leaves these as they were. */
	record->lent = NULL;
	record->is_short = record->is_parked = record->may_refill = record->is_charge_due = false;
	memset(record->pages, 0, sizeof(record->pages));
	/* From the top down: what is missing is at the bottom. */
	while (missing > 0) {
		u64 entry = READ_ONCE(record->entries[missing - 1]);

		if (!entry)
			break;
		record->pages[--missing] = pte_page(__pte(entry));
	}
	kernelstacks_set_missing(record, missing);
	return &record->area;
}

unsigned long kernelstacks_arena_pages(void)
{
	return atomic_long_read(&arena_pages);
}

uintptr_t swift_stacks_reserve_area(size_t size, size_t align, size_t phase)
{
	unsigned long base;

	/* One area, shown in /proc/vmallocinfo as this function's, in which nothing is ever mapped by Linux itself. */
	arena = get_vm_area(size + align, VM_MAP);
	if (!arena)
		return 0;
	base = ALIGN((unsigned long)arena->addr - phase, align) + phase;
	first_window = ALIGN(base, PMD_SIZE);
	table_count = DIV_ROUND_UP(base + size - first_window, PMD_SIZE);
	tables = kvcalloc(table_count, sizeof(*tables), GFP_KERNEL);
	if (tables)
		return base;
	free_vm_area(arena);
	return 0;
}

static int note_entry(pte_t *entry, unsigned long address, void *place)
{
	*(pte_t **)place = entry;
	return 0;
}

/* The allocator lets only one CPU at a time ask for a table. */
uintptr_t swift_stacks_leaf_entry(uintptr_t address, int node)
{
	struct slot_table *table = &tables[(address - first_window) / PMD_SIZE];
	pte_t *entries;
	int i;

	if (table->entries)
		return __pa(table->entries + pte_index(address));
	for (i = 0; i < RECORD_PAGES; i++) {
		struct page *page = alloc_pages_node(node, GFP_KERNEL | __GFP_ZERO, 0);

		if (!page)
			goto undo;
		table->records[i] = page_address(page);
	}
	if (!apply_to_page_range(&init_mm, address, PAGE_SIZE, note_entry, &entries)) {
		initialize_records(table, ALIGN_DOWN(address, PMD_SIZE), entries - pte_index(address));
		smp_store_release(&table->entries, entries - pte_index(address));
		atomic_long_add(RECORD_PAGES + 1, &arena_pages);
		return __pa(entries);
	}
undo:
	while (i--)
		free_page((unsigned long)table->records[i]);
	return 0;
}

unsigned int swift_stacks_va_bits(void)
{
	return vabits_actual;
}

void swift_stacks_flush_tlb_kernel_range(uintptr_t start, uintptr_t end)
{
	flush_tlb_kernel_range(start, end);
}
