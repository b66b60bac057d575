// What the files about lent pages need besides, and a stack to try them on. No page is ever accessed, and nothing runs.
#pragma once

#define CONFIG_SWIFT_KERNEL_STACKS_GROWING 1
#define CONFIG_MEMCG 1
#define CONFIG_SWIFT_KERNEL_STACKS_ENTRY 1
#include <everything.h>

int printf(const char *, ...);
void *calloc(size_t count, size_t size);

typedef u64 pteval_t;
typedef struct { bool is_held; } raw_spinlock_t;
#define _AT(type, value) ((type)(value))
#define PTE_AF (1ul << 10)
#define MAX_NUMNODES 1
#define __LSE_PREAMBLE ""
#define __aligned(bytes) __attribute__((aligned(bytes)))
#define DECLARE_PER_CPU(type, name) extern type name
#define raw_cpu_ptr(place) (place)
#define dsb(kind)
#define isb()
#define barrier() __asm__ volatile("" : : : "memory")
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define container_of(place, type, member) ((type *)((char *)(place) - __builtin_offsetof(type, member)))
#define late_initcall(function) core_initcall(function)
#define pte_pfn(entry) ((entry).pte >> PAGE_SHIFT & 0xfffffffful)
#define __free_page(page) __free_pages(page, 0)

// Pages are lent, but for the accounts of those that were mapped on a fault.
#define DECLARE_STATIC_KEY_FALSE(name) extern int name
#define static_branch_unlikely(key) false

#include <lend.h>
#include <pool.h>

struct page *pfn_to_page(unsigned long frame) { return (struct page *)(frame << PAGE_SHIFT); }
unsigned long page_to_pfn(const struct page *page) { return (unsigned long)page >> PAGE_SHIFT; }
pte_t pfn_pte(unsigned long frame, pgprot_t attributes) { return (pte_t){frame << PAGE_SHIFT | PTE_AF | 3}; }
void panic(const char *format, ...) { __builtin_trap(); }

static struct task_struct task;
static struct slot_record record;
static u64 entries[STACK_PAGES];
