// The glue's part of stacks that are freed twice, on a host: what it hands to a worker, and what that asks of every CPU.
#include <arena.c>
#include <glue.c>
#include <services.c>

int printf(const char *, ...);
void *calloc(size_t count, size_t size);

// Stacks of an allocator that has kept each in the cache of another CPU when it was freed.

enum { STACKS = 8, CPUS = 2 };
static bool in_use[STACKS];
static unsigned int handed_out, asked[STACKS], foreign;

static unsigned int number_of(unsigned long stack) { return (stack - first_window) / THREAD_ALIGN; }

bool swift_stacks_init(void *at, bool grows, long size, long phase, long capacity) { return true; }
long swift_stacks_handle_size(void) { return 8; }
unsigned long swift_stacks_alloc(void *at, int node) {
  unsigned long stack = first_window + handed_out * THREAD_ALIGN;
  swift_stacks_leaf_entry(stack, node);
  in_use[handed_out++] = true;
  return stack;
}
bool swift_stacks_populate(void *at, unsigned long stack) { return true; }
bool swift_stacks_free(void *at, unsigned long stack) {
  if (number_of(stack) >= handed_out || !in_use[number_of(stack)]) return false;
  in_use[number_of(stack)] = false;
  return true;
}

static bool is_worker;
bool swift_stacks_quarantine(void *at, unsigned long stack) {
  if (!is_worker) return false;
  if (number_of(stack) < STACKS) asked[number_of(stack)]++;
  else foreign++;
  return false;
}
long swift_stacks_cached_frames(void *at) { return 0; }

struct task_struct *current;

// The worker.

static unsigned int pending;
bool schedule_work(struct work_struct *work) { return pending++ == 0; }
static void run_worker(void) {
  is_worker = true;
  if (pending) quarantine.function(&quarantine);
  is_worker = false;
  pending = 0;
}
void on_each_cpu(void (*function)(void *), void *argument, int wait) {
  for (int cpu = 0; cpu < CPUS; cpu++) function(argument);
}

int atomic_xchg(atomic_t *number, int value) { return __atomic_exchange_n(&number->value, value, __ATOMIC_SEQ_CST); }
void atomic_set_release(atomic_t *number, int value) { __atomic_store_n(&number->value, value, __ATOMIC_RELEASE); }
bool llist_add(struct llist_node *node, struct llist_head *list) {
  node->next = list->first;
  list->first = node;
  return !node->next;
}
struct llist_node *llist_del_all(struct llist_head *list) {
  struct llist_node *first = list->first;
  list->first = NULL;
  return first;
}

// Memory, and an address space that is never accessed.

static struct vm_struct area = {.addr = (void *)VMALLOC_START};
static pte_t table[512];
struct mm_struct {
  int unused;
} init_mm;
struct vm_struct *get_vm_area(unsigned long size, unsigned long flags) { return &area; }
void free_vm_area(struct vm_struct *unneeded) {}
void *kvcalloc(size_t count, size_t size, gfp_t flags) { return calloc(count, size); }
struct page *alloc_pages_node(int node, gfp_t flags, unsigned int order) { return calloc(1, PAGE_SIZE << order); }
void __free_pages(struct page *page, unsigned int order) {}
void free_page(unsigned long address) {}
void *page_address(const struct page *page) { return (void *)page; }
unsigned long page_to_pfn(const struct page *page) { return (unsigned long)page / PAGE_SIZE; }
struct page *pfn_to_page(unsigned long frame) { return (struct page *)(frame * PAGE_SIZE); }
struct page *pte_page(pte_t entry) { return (struct page *)entry.pte; }
pte_t pfn_pte(unsigned long frame, pgprot_t attributes) { return (pte_t){frame * PAGE_SIZE}; }
unsigned long pte_index(unsigned long address) { return address / PAGE_SIZE % 512; }
unsigned long physical_address(const void *address) { return (unsigned long)address; }
int apply_to_page_range(
    struct mm_struct *space, unsigned long address, unsigned long size,
    int (*function)(pte_t *entry, unsigned long address, void *data), void *data) {
  return function(&table[pte_index(address)], address, data);
}
int page_to_nid(const struct page *page) { return 0; }
unsigned long totalram_pages(void) { return 4096; }
unsigned long global_zone_page_state(enum zone_stat_item item) { return 0; }
unsigned int nr_node_ids = 1, nr_cpu_ids = CPUS;
int numa_node_id(void) { return 0; }
unsigned int raw_smp_processor_id(void) { return 0; }
void flush_tlb_kernel_range(unsigned long start, unsigned long end) {}
void save_interrupts(unsigned long *flags) { *flags = 0; }
void local_irq_restore(unsigned long flags) {}
void arch_spin_lock(arch_spinlock_t *lock) {}
void arch_spin_unlock(arch_spinlock_t *lock) {}
long atomic_long_read(const atomic_long_t *number) { return number->value; }
void atomic_long_add(long more, atomic_long_t *number) { number->value += more; }
int warn(bool condition, const char *format, ...) { return condition; }
void panic(const char *format, ...) { __builtin_trap(); }

// What was asked since the last time.
static unsigned int take_asked(unsigned int *stacks) {
  unsigned int sum = 0, some = 0;
  for (int i = 0; i < STACKS; i++) {
    sum += asked[i];
    some += asked[i] > 0;
    asked[i] = 0;
  }
  if (stacks) *stacks = some;
  return sum;
}

int main(void) {
  struct task_struct tasks[6] = {0}, task = {0};
  unsigned int some, workers, sum;

  swift_stacks_reserve_area(4 * PMD_SIZE, THREAD_ALIGN, THREAD_ALIGN / 2);
  for (int i = 0; i < 6; i++) tasks[i].stack = arch_alloc_thread_stack_node(&tasks[i], 0);
  for (int i = 0; i < 6; i++) arch_free_thread_stack(&tasks[i]);
  for (int i = 0; i < 6; i++) arch_free_thread_stack(&tasks[i]);
  workers = pending > 0;
  run_worker();
  sum = take_asked(&some);
  printf("workers %u, suspects %u, asked %u\n", workers, some, sum);

  unsigned long strangers[] = {
      0, (unsigned long)&task, first_window - THREAD_ALIGN, first_window + 16, first_window + THREAD_SIZE,
      first_window + PMD_SIZE, first_window + 64 * PMD_SIZE, ~0ul};
  for (int i = 0; i < 8; i++) {
    task.stack = (void *)strangers[i];
    arch_free_thread_stack(&task);
  }
  run_worker();
  printf("foreign %u\n", foreign + take_asked(NULL));

  arch_free_thread_stack(&tasks[2]);
  run_worker();
  printf("again %u\n", take_asked(NULL));

  for (int i = 0; i < 3; i++) arch_free_thread_stack(&tasks[3]);
  run_worker();
  printf("twice at once %u\n", take_asked(NULL));
  return 0;
}
