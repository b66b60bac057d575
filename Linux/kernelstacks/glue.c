// SPDX-License-Identifier: GPL-2.0
/*
 * Between Linux and the stack allocator in Swift: the hook through which fork gets and frees stacks, and the services
 * of LinuxStacks/LinuxServices.h.
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
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/llist.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/topology.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <asm/tlbflush.h>

#include "LinuxStacks/LinuxServices.h"
#include "growth.h"
#include "record.h"
#include "stacks.h"

#define SLOTS_PER_TABLE (PMD_SIZE / THREAD_ALIGN)
#define SLOTS_PER_RECORD_PAGE (PAGE_SIZE / sizeof(struct slot_record))
#define RECORD_PAGES DIV_ROUND_UP(SLOTS_PER_TABLE, SLOTS_PER_RECORD_PAGE)

/* What belongs to one last-level page table of the arena. Once there, it stays. */
struct slot_table {
	pte_t *entries;
	struct slot_record *records[RECORD_PAGES];
};

u64 kernelstacks_handle[16];
uintptr_t swift_stacks_map_offset __ro_after_init;
uint64_t swift_stacks_attributes __ro_after_init;
static bool grows __ro_after_init; /* stacks begin with one page */
static struct vm_struct *arena;
static unsigned long first_window; /* a multiple of PMD_SIZE: the first stack */
static struct slot_table *tables;
static unsigned long table_count;
static atomic_long_t arena_pages;

/* The hook of kernel/fork.c */

static struct slot_record *record_in(const struct slot_table *table, unsigned long place)
{
	return &table->records[place / SLOTS_PER_RECORD_PAGE][place % SLOTS_PER_RECORD_PAGE];
}

/* The record of the slot whose stack begins at an address; NULL where none has ever been. */
static struct slot_record *record_of(unsigned long stack)
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

/* The stack has just been handed out. */
static struct vm_struct *describe(unsigned long stack)
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

/* Charged at every hand-out, cached or new; exit_task_stack_account() uncharges. */
static int charge(struct vm_struct *area)
{
	int i, error;

	/* From the top down: what is missing is at the bottom. */
	for (i = STACK_PAGES - 1; i >= 0 && area->pages[i]; i--) {
		error = memcg_kmem_charge_page(area->pages[i], GFP_KERNEL, 0);
		if (!error)
			continue;
		while (++i < STACK_PAGES)
			memcg_kmem_uncharge_page(area->pages[i], 0);
		return error;
	}
	return 0;
}

/*
 * Whether a stack has to be whole: of a thread of the kernel, or one that is forked before the first program runs, or by one
 * with a real-time policy, or where stacks do not grow. These are never parked.
 */
static bool is_whole(void)
{
	return !kernelstacks_grows() || current->flags & PF_KTHREAD || !current->mm || keeps_all_pages(current);
}

unsigned long *arch_alloc_thread_stack_node(struct task_struct *task, int node)
{
	unsigned long stack = swift_stacks_alloc(kernelstacks_handle, node);
	struct vm_struct *area;

	if (!stack)
		return NULL;
	if (grows && is_whole() && !swift_stacks_populate(kernelstacks_handle, stack)) {
		swift_stacks_free(kernelstacks_handle, stack);
		return NULL;
	}
	area = describe(stack);
	if (charge(area)) {
		swift_stacks_free(kernelstacks_handle, stack);
		return NULL;
	}
	task->stack_vm_area = area;
	return (unsigned long *)stack;
}

/*
 * A stack that was freed twice may still be in use by the code that freed it wrongly, so no cache may hand it out again.
 * Each CPU looks into its own; the others do so from a worker, because a free may come from any context. Until the worker
 * runs, any number of stacks may have been freed twice: they wait in a list that runs through their records.
 */
static LLIST_HEAD(suspects);

static void quarantine_suspect(void *stack)
{
	swift_stacks_quarantine(kernelstacks_handle, (unsigned long)stack);
}

static void quarantine_everywhere(struct work_struct *work)
{
	struct slot_record *record, *next;

	llist_for_each_entry_safe(record, next, llist_del_all(&suspects), suspect) {
		/* From here on it can be put into the list again, and nothing is read of it. */
		void *stack = record->area.addr;

		atomic_set_release(&record->is_suspect, 0);
		on_each_cpu(quarantine_suspect, stack, 1);
	}
}
static DECLARE_WORK(quarantine, quarantine_everywhere);

/* Called in any context. */
static void quarantine_later(unsigned long stack)
{
	struct slot_record *record = record_of(stack);

	if (!record || atomic_xchg(&record->is_suspect, 1))
		return;
	llist_add(&record->suspect, &suspects);
	schedule_work(&quarantine);
}

/* Called in any context. */
void arch_free_thread_stack(struct task_struct *task)
{
	unsigned long stack = (unsigned long)task->stack;

	if (grows && task->stack_vm_area)
		kernelstacks_forget_kept(record_of_task(task));
	task->stack_vm_area = NULL;
	if (likely(swift_stacks_free(kernelstacks_handle, stack)))
		return;
	if (!swift_stacks_quarantine(kernelstacks_handle, stack))
		quarantine_later(stack);
	WARN(1, "kernel stack 0x%lx of task %d is not one in use: freed twice, or foreign. It is leaked.\n",
	     stack, task->pid);
}

/* Called by fork_init() before the first fork. */
void __init arch_task_cache_init(void)
{
	unsigned long capacity = totalram_pages() / STACK_PAGES;
	unsigned long most = (VMALLOC_END - VMALLOC_START) / 4 / THREAD_ALIGN;

	BUILD_BUG_ON(THREAD_ALIGN != 2 * THREAD_SIZE);
	BUILD_BUG_ON(sizeof(arch_spinlock_t) > sizeof(u64));
	grows = kernelstacks_may_grow();
	swift_stacks_map_offset = PAGE_OFFSET - PHYS_OFFSET;
	swift_stacks_attributes = pte_val(pfn_pte(0, PAGE_KERNEL));
	if (swift_stacks_handle_size() > sizeof(kernelstacks_handle) ||
	    !swift_stacks_init(kernelstacks_handle, grows, THREAD_SIZE, THREAD_ALIGN / 2, clamp(capacity, 1UL, most)))
		panic("kernelstacks: the stack allocator could not be made");
}

void kernelstacks_figures_of_arena(unsigned long *pages, unsigned long *cached)
{
	*pages = atomic_long_read(&arena_pages) + kernelstacks_spare_pages();
	*cached = swift_stacks_cached_frames(kernelstacks_handle);
}

/* Page frames */

notrace uintptr_t swift_stacks_alloc_pages(unsigned int order, int node, bool zero, bool wait)
{
	gfp_t flags = (wait ? GFP_KERNEL : GFP_NOWAIT | __GFP_NOWARN) | (zero ? __GFP_ZERO : 0);
	struct page *page;

	/* The page allocator's locks sleep there. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT) && !wait)
		return 0;
	page = alloc_pages_node(node, flags, order);
	return page ? page_to_pfn(page) : 0;
}

#ifdef CONFIG_PREEMPT_RT
/* Pages, each a block of its own, that were freed where the page allocator's locks may not be waited for: linked in themselves. */
static LLIST_HEAD(freed_pages);

static void free_pages_later(struct work_struct *work)
{
	struct llist_node *page, *next;

	llist_for_each_safe(page, next, llist_del_all(&freed_pages))
		free_page((unsigned long)page);
}
static DECLARE_WORK(page_freeing, free_pages_later);

static bool free_later(struct page *page, unsigned int order)
{
	if (preemptible() || order)
		return false;
	if (llist_add(page_address(page), &freed_pages))
		schedule_work(&page_freeing);
	return true;
}
#else
static bool free_later(struct page *page, unsigned int order) { return false; }
#endif

notrace void swift_stacks_free_pages(uintptr_t frame, unsigned int order)
{
	struct page *page = pfn_to_page(frame);

	if (!free_later(page, order))
		__free_pages(page, order);
}

int swift_stacks_page_to_nid(uintptr_t frame)
{
	return page_to_nid(pfn_to_page(frame));
}

size_t swift_stacks_total_pages(void)
{
	return totalram_pages();
}

size_t swift_stacks_free_page_count(void)
{
	return global_zone_page_state(NR_FREE_PAGES);
}

unsigned int swift_stacks_node_count(void)
{
	return nr_node_ids;
}

/* Address space and page tables */

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

notrace void swift_stacks_clear(uintptr_t address, size_t size)
{
	memset((void *)address, 0, size);
}

/* CPUs */

notrace unsigned int swift_stacks_cpu(void)
{
	return raw_smp_processor_id();
}

unsigned int swift_stacks_cpu_count(void)
{
	return nr_cpu_ids;
}

int swift_stacks_cpu_node(void)
{
	return numa_node_id();
}

notrace uintptr_t swift_stacks_irq_save(void)
{
	unsigned long flags;

	local_irq_save(flags);
	return flags;
}

notrace void swift_stacks_irq_restore(uintptr_t flags)
{
	local_irq_restore(flags);
}

notrace uintptr_t swift_stacks_lock(uint64_t *lock)
{
	unsigned long flags;

	local_irq_save(flags);
	arch_spin_lock((arch_spinlock_t *)lock);
	return flags;
}

notrace void swift_stacks_unlock(uint64_t *lock, uintptr_t flags)
{
	arch_spin_unlock((arch_spinlock_t *)lock);
	local_irq_restore(flags);
}
