// The part of Linux's internal interface that the glue uses, declared anew, so that it compiles without a kernel tree.
#pragma once

#define CONFIG_VMAP_STACK 1 // which the option depends on

#define KERNEL_VERSION(version, patch_level, sublevel) (((version) << 16) + ((patch_level) << 8) + (sublevel))
#ifndef LINUX_VERSION_CODE
#define LINUX_VERSION_CODE KERNEL_VERSION(6, 1, 192)
#endif

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64, uint64_t, uintptr_t, size_t;
typedef long ssize_t;
typedef _Bool bool;
typedef unsigned int gfp_t;
enum { false = 0, true = 1 };

#define NULL ((void *)0)
#define IS_ENABLED(option) 0
#define LONG_MAX 0x7fffffffffffffffl
#define __ro_after_init
#define notrace
#define __always_inline inline __attribute__((always_inline))
#define __init __attribute__((section(".init.text")))
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), #condition)
#define READ_ONCE(place) (*(const volatile __typeof__(place) *)&(place))
#define WRITE_ONCE(place, value) (*(volatile __typeof__(place) *)&(place) = (value))
#define ALIGN(value, to) (((value) + ((to) - 1)) & ~((__typeof__(value))(to) - 1))
#define ALIGN_DOWN(value, to) ((value) & ~((__typeof__(value))(to) - 1))
#define DIV_ROUND_UP(value, by) (((value) + (by) - 1) / (by))
#define clamp(value, low, high) ((value) < (low) ? (low) : (value) > (high) ? (high) : (value))
#define core_initcall(function) static int (*const initcall_##function)(void) __attribute__((used)) = function

typedef struct { long value; } atomic_long_t;
long atomic_long_read(const atomic_long_t *number);
void atomic_long_add(long more, atomic_long_t *number);

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ul
#define PMD_SIZE 0x200000ul
#define THREAD_SIZE 0x4000ul
#define THREAD_ALIGN 0x8000ul
#define PAGE_OFFSET 0xffffffc000000000ul
#define PHYS_OFFSET 0x40000000ul
#define VMALLOC_START 0xffffffc008000000ul
#define VMALLOC_END 0xfffffffdf0000000ul
#define VM_MAP 4ul
#define VM_NO_GUARD 0x40ul
#define GFP_KERNEL 0xcc0u
#define __GFP_ZERO 0x100u
#define GFP_NOWAIT 0x800u
#define __GFP_NOWARN 0x2000u
#define PAGE_KERNEL ((pgprot_t){0})
#define vabits_actual 39ul

typedef struct { u64 pte; } pte_t;
typedef struct { u64 pgprot; } pgprot_t;
typedef struct { u32 value; } arch_spinlock_t;
struct page;
struct mm_struct;
struct vm_struct {
  struct vm_struct *next;
  void *addr;
  unsigned long size, flags;
  struct page **pages;
  unsigned int nr_pages;
  const void *caller;
};
struct callback_head {
  struct callback_head *next;
  void (*func)(struct callback_head *);
};
struct rw_semaphore {
  bool is_held;
};
struct signal_struct {
  struct rw_semaphore exec_update_lock;
};
struct task_struct {
  void *stack;
  struct vm_struct *stack_vm_area;
  struct mm_struct *mm;
  struct signal_struct *signal;
  struct { struct { unsigned long sp; } cpu_context; } thread;
  unsigned long nvcsw, nivcsw;
  void *plug;
  unsigned int flags, __state;
  int pid, on_cpu;
};
#define PF_EXITING 0x00000004u
#define PF_KTHREAD 0x00200000u
#define ENOMEM 12
extern struct task_struct *current;
extern struct mm_struct init_mm;

__attribute__((format(printf, 2, 3))) int warn(bool condition, const char *format, ...);
#define WARN(condition, ...) warn((condition), __VA_ARGS__)
__attribute__((noreturn, format(printf, 1, 2))) void panic(const char *format, ...);
void *memset(void *, int, size_t);

struct page *alloc_pages_node(int node, gfp_t flags, unsigned int order);
void __free_pages(struct page *page, unsigned int order);
void free_page(unsigned long address);
void *page_address(const struct page *page);
unsigned long page_to_pfn(const struct page *page);
struct page *pfn_to_page(unsigned long frame);
int page_to_nid(const struct page *page);
unsigned long totalram_pages(void);
enum zone_stat_item { NR_FREE_PAGES };
unsigned long global_zone_page_state(enum zone_stat_item item);
extern unsigned int nr_node_ids, nr_cpu_ids;
int numa_node_id(void);
unsigned int raw_smp_processor_id(void);

#ifdef CONFIG_MEMCG
int memcg_kmem_charge_page(struct page *page, gfp_t flags, int order);
void memcg_kmem_uncharge_page(struct page *page, int order);
#else
static inline int memcg_kmem_charge_page(struct page *page, gfp_t flags, int order) { return 0; }
static inline void memcg_kmem_uncharge_page(struct page *page, int order) {}
#endif

struct vm_struct *get_vm_area(unsigned long size, unsigned long flags);
void free_vm_area(struct vm_struct *area);
void *kvcalloc(size_t count, size_t size, gfp_t flags);
int apply_to_page_range(
    struct mm_struct *space, unsigned long address, unsigned long size,
    int (*function)(pte_t *entry, unsigned long address, void *data), void *data);
pte_t pfn_pte(unsigned long frame, pgprot_t attributes);
struct page *pte_page(pte_t entry);
#define pte_val(entry) ((entry).pte)
#define __pte(value) ((pte_t){value})
#define pte_none(entry) (!pte_val(entry))
unsigned long pte_index(unsigned long address);
unsigned long physical_address(const void *address);
#define __pa(address) physical_address((const void *)(address))
void flush_tlb_kernel_range(unsigned long start, unsigned long end);

void save_interrupts(unsigned long *flags);
#define local_irq_save(flags) save_interrupts(&(flags))
void local_irq_restore(unsigned long flags);
void arch_spin_lock(arch_spinlock_t *lock);
void arch_spin_unlock(arch_spinlock_t *lock);

typedef struct { int value; } atomic_t;
#define ATOMIC_INIT(number) {number}
static inline int atomic_read(const atomic_t *number) { return number->value; }
static inline void atomic_add(int more, atomic_t *number) { number->value += more; }
int atomic_xchg(atomic_t *number, int value);
void atomic_set_release(atomic_t *number, int value);
#define smp_load_acquire(place) __atomic_load_n(place, __ATOMIC_ACQUIRE)
#define smp_store_release(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)

struct llist_node {
  struct llist_node *next;
};
struct llist_head {
  struct llist_node *first;
};
#define LLIST_HEAD(name) struct llist_head name = {NULL}
bool llist_add(struct llist_node *node, struct llist_head *list);
struct llist_node *llist_del_all(struct llist_head *list);
#define llist_entry(node, type, member) ((type *)((char *)(node) - __builtin_offsetof(type, member)))
#define llist_for_each_entry_safe(place, other, node, member)                              \
  for (struct llist_node *at_##member = (node), *next_##member = NULL;                      \
       at_##member && ((place) = llist_entry(at_##member, __typeof__(*(place)), member),    \
                       next_##member = at_##member->next, (other) = NULL, (void)(other), 1); \
       at_##member = next_##member)

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) (condition)
void on_each_cpu(void (*function)(void *), void *argument, int wait);
struct work_struct {
  void (*function)(struct work_struct *);
};
#define DECLARE_WORK(name, does) struct work_struct name = {.function = does}
bool schedule_work(struct work_struct *work);
struct workqueue_struct;
#define WQ_MEM_RECLAIM 8
#define INIT_WORK(work, does) ((work)->function = (does))
struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int most);
bool queue_work_on(int cpu, struct workqueue_struct *queue, struct work_struct *work);
#define DEFINE_PER_CPU(type, name) type name[4]
#define per_cpu_ptr(name, cpu) (&(*(name))[cpu])
#define for_each_possible_cpu(cpu) for ((cpu) = 0; (cpu) < 4; (cpu)++)
#define for_each_online_cpu(cpu) for_each_possible_cpu(cpu)
struct delayed_work {
  struct work_struct work;
};
#define DECLARE_DEFERRABLE_WORK(name, does) struct delayed_work name = {.work = {.function = does}}
#define HZ 250
bool schedule_delayed_work(struct delayed_work *work, unsigned long delay);

#define SHRINK_STOP (~0ul)
#define SHRINK_EMPTY (~0ul - 1)
#define DEFAULT_SEEKS 2
struct shrink_control {
  unsigned long nr_to_scan;
};
struct shrinker {
  unsigned long (*count_objects)(struct shrinker *, struct shrink_control *);
  unsigned long (*scan_objects)(struct shrinker *, struct shrink_control *);
  long batch;
  int seeks;
};
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
struct shrinker *shrinker_alloc(unsigned int flags, const char *name, ...);
void shrinker_register(struct shrinker *shrinker);
#else
int register_shrinker(struct shrinker *shrinker, const char *name, ...);
#endif

void arch_task_cache_init(void);
