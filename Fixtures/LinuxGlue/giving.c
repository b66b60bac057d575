// Which pages threads give back when memory is short, on a host: threads are records here, and none of them runs.
#include "lent.h"

struct mutex { bool is_held; };
#define DEFINE_MUTEX(name) struct mutex name
static bool take(bool *is_held) { return *is_held ? false : (*is_held = true); }
static bool mutex_trylock(struct mutex *mutex) { return take(&mutex->is_held); }
static void mutex_unlock(struct mutex *mutex) { mutex->is_held = false; }
static bool down_write_trylock(struct rw_semaphore *lock) { return take(&lock->is_held); }
static void up_write(struct rw_semaphore *lock) { lock->is_held = false; }

// Grace periods: a number that each asks for, and those that have ended.
static unsigned long ended_periods;
static unsigned long get_state_synchronize_rcu(void) { return ended_periods + 1; }
static bool poll_state_synchronize_rcu(unsigned long number) { return ended_periods >= number; }
static unsigned long start_poll_synchronize_rcu(void) { return ended_periods + 1; }

static struct task_struct *pinned;
static int task_call_func(struct task_struct *task, int (*function)(struct task_struct *, void *), void *context) {
  pinned = task;
  int result = function(task, context);
  pinned = NULL;
  return result;
}

#include <shrink.c>

static unsigned int freed, unaccounted, invalidated, invalidated_late;
void flush_tlb_kernel_range(unsigned long start, unsigned long end) {
  invalidated += (end - start) / PAGE_SIZE;
  invalidated_late += !pinned;
}
void __free_pages(struct page *page, unsigned int order) { freed++; }
void kernelstacks_unaccount(struct page *page, bool is_accounted) { unaccounted += is_accounted ? 100 : 1; }
bool kernelstacks_is_growing = true;
int register_shrinker(struct shrinker *shrinker, const char *name, ...) { return 0; }
void kernelstacks_growth_figures(struct growth_figures *figures) { *figures = (struct growth_figures){.kept_now = 3}; }

// One thread, asleep `depth` bytes below the top of its stack, whose pages but the highest were all lent to it.

static struct signal_struct process;

void kernelstacks_visit_threads(
    void (*visit)(struct task_struct *task, struct slot_record *record, void *context), void *context) {
  visit(&task, &record, context);
}

static void sleep_at(unsigned long depth) {
  record = (struct slot_record){.area.addr = (void *)VMALLOC_START, .entries = entries};
  process = (struct signal_struct){};
  task = (struct task_struct){
      .stack_vm_area = &record.area, .signal = &process, .nvcsw = 3,
      .thread.cpu_context.sp = VMALLOC_START + THREAD_SIZE - depth};
  for (u64 i = 0; i < STACK_PAGES; i++) entries[i] = (i + 5) << PAGE_SHIFT | 0x403 | (i < MOST_MISSING ? PTE_GROWN : 0);
  freed = unaccounted = invalidated = 0;
}

// Memory is short, for so many pages.
static long shrink(unsigned long pages) {
  struct shrink_control control = {.nr_to_scan = pages};
  unsigned long given = scan_threads(&thread_shrinker, &control);
  return given == SHRINK_STOP ? 0 : (long)given;
}

// After a first time, in which the thread's rest begins, and a grace period.
static long shrink_at_rest(unsigned long pages) {
  long early = shrink(pages);
  ended_periods++;
  return early ? -early : shrink(pages);
}

static void show(const char *what, long given) {
  unsigned int present = 0, charged = 0;
  for (int i = 0; i < STACK_PAGES; i++) {
    present |= (entries[i] != 0) << i;
    charged |= (record.pages[i] != NULL) << i;
  }
  printf("%s: %ld, missing %u, present %x, charged %x, ", what, given, record.missing, present, charged);
  printf("invalidated %u, freed %u, accounts %u\n", invalidated, freed, unaccounted);
}

int main(void) {
  sleep_at(1000);
  show("at the top", shrink_at_rest(128));
  sleep_at(2100);
  show("2,100 bytes deep", shrink_at_rest(128));
  sleep_at(12000);
  show("12,000 bytes deep", shrink_at_rest(128));
  sleep_at(1000);
  record.pages[1] = record.pages[2] = (struct page *)entries;
  show("two wanted, one charged", shrink_at_rest(2));
  show("the rest of them", shrink_at_rest(128));
  sleep_at(1000);
  shrink(128);
  show("no grace period", shrink(128));
  task.nivcsw++;
  ended_periods++;
  show("has run meanwhile", shrink(128));
  ended_periods++;
  show("at rest again", shrink(128));
  show("again", shrink_at_rest(128));

  static const char *const others[] = {
      "on a CPU", "ending", "of the kernel", "with lent pages", "short", "waiting", "being charged", "looked at", "whole"};
  for (int i = 0; i < 9; i++) {
    sleep_at(1000);
    switch (i) {
    case 0: task.on_cpu = 1; break;
    case 1: task.flags = PF_EXITING; break;
    case 2: task.flags = PF_KTHREAD; break;
    case 3: record.lent = entries; break;
    case 4: record.is_short = true; break;
    case 5: record.is_parked = true; break;
    case 6: record.is_charging = true; break;
    case 7: process.exec_update_lock.is_held = true; break;
    case 8: entries[0] &= ~PTE_GROWN; break;
    }
    show(others[i], shrink_at_rest(128));
  }
  sleep_at(1000);
  kernelstacks_shrinking.is_held = true;
  show("while stacks are read", shrink_at_rest(128));
  printf("invalidated when it could run: %u, given back: %lu\n", invalidated_late, kernelstacks_given_back());
  return 0;
}
