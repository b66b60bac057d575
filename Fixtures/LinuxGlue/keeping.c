// The accounts of pages that a thread has touched, on a host: of its node, of its memory cgroup, and of those that are kept.
#include "lent.h"

struct cpu_frames kernelstacks_cpu;
#define this_cpu_add(place, more) ((place) += (more))
#define cmpxchg_relaxed(place, old, new) (*(place) == (old) ? (*(place) = (new), (old)) : *(place))

enum { NR_KERNEL_STACK_KB, TWA_RESUME, ESRCH, __GFP_NOFAIL = 0 };
static long node_kib, group_kib, charged, warnings;
#define page_pgdat(page) 0
static void mod_node_page_state(int node, int item, long change) { node_kib += change; }
static void mod_lruvec_page_state(struct page *page, int item, long change) { group_kib += change; }
#define WARN_ON_ONCE(condition) (warnings += (condition))
static bool memcg_kmem_enabled(void) { return true; }

static bool is_refused;
static struct callback_head *work;
static void init_task_work(struct callback_head *head, void (*function)(struct callback_head *)) { head->func = function; }
static int task_work_add(struct task_struct *task, struct callback_head *head, int notify) {
  if (!is_refused) work = head;
  return is_refused ? -ESRCH : 0;
}
static void *memchr_inv(const void *start, int byte, size_t count) { return NULL; }
void kernelstacks_forget_rest(struct slot_record *record) {}
void *page_address(const struct page *page) { return NULL; }

#define panic(...) __builtin_trap()
#include <kept.c>

// The thread has touched the pages from `first` up, of those that were lent to it.
static void keep(unsigned int first) {
  static struct frame_set set;
  set.count = MOST_MISSING;
  for (u64 i = 0; i < MOST_MISSING; i++) set.frame[i] = (i + 5) << PAGE_SHIFT | PTE_GROWN | 3;
  for (unsigned int i = 0; i < record.missing; i++) entries[i] = set.frame[i];
  kernelstacks_keep(&task, set.frame, first);
  for (unsigned int i = 0; i < first; i++) entries[i] = 0;
}

// Pages are mapped down to `first`, on faults.
static void grow(unsigned int first) {
  while (record.missing > first) {
    record.missing--;
    entries[record.missing] = (record.missing + 5ul) << PAGE_SHIFT | PTE_GROWN | PTE_AF | 3;
  }
}

// What happens while a page is charged.
static int deeper = -1;
static bool was_charging;
int memcg_kmem_charge_page(struct page *page, gfp_t flags, int order) {
  charged++;
  was_charging = record.is_charging;
  if (deeper >= 0) keep(deeper);
  deeper = -1;
  return 0;
}
void memcg_kmem_uncharge_page(struct page *page, int order) { charged--; }

// The works of the thread, as when it returns to user space.
static void run_works(void) {
  while (work) {
    struct callback_head *next = work;
    work = NULL;
    next->func(next);
  }
}

static void begin(void) {
  record = (struct slot_record){.entries = entries, .missing = MOST_MISSING, .accounted = MOST_MISSING};
  record.pages[MOST_MISSING] = (struct page *)entries;
  task.stack_vm_area = &record.area;
  entries[MOST_MISSING] = 8ul << PAGE_SHIFT | PTE_AF | 3;
}

static void show(const char *what) {
  printf("%s: missing %u, node %ld KiB, group %ld KiB, %ld charged, due %d, kept %lu, ended %lu\n", what, record.missing,
         node_kib, group_kib, charged, record.is_charge_due, kernelstacks_cpu.kept, kernelstacks_cpu.ended);
}

int main(void) {
  begin();
  keep(2);
  show("one page");
  run_works();
  show("charged");
  keep(0);
  run_works();
  show("deeper, charged");
  for (int i = 0; i < MOST_MISSING; i++) kernelstacks_unaccount(record.pages[i], true);
  kernelstacks_forget_pages(&record);
  show("ended");

  begin();
  deeper = 1;
  keep(2);
  run_works();
  printf("charging %d, then %d\n", was_charging, record.is_charging);
  show("deeper while it was charged");
  for (int i = 1; i < MOST_MISSING; i++) kernelstacks_unaccount(record.pages[i], true);
  kernelstacks_forget_pages(&record);

  begin();
  grow(2);
  show("one page on a fault");
  kernelstacks_keep_grown(&task);
  show("switched out");
  run_works();
  show("charged");
  grow(0);
  kernelstacks_keep_grown(&task);
  run_works();
  show("deeper, charged");
  for (int i = 0; i < MOST_MISSING; i++) kernelstacks_unaccount(record.pages[i], true);
  kernelstacks_forget_pages(&record);
  show("ended");

  begin();
  is_refused = true;
  keep(1);
  show("no charge is taken any more");
  kernelstacks_forget_pages(&record);
  show("ended");
  printf("warnings: %ld\n", warnings);
  return 0;
}
