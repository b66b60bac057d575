// Waiting for frames, on a host: another CPU acts whenever the pool's lock is released, which is the worst that it can do.
#include "lent.h"

#define ENOMEM 12
#define __RAW_SPIN_LOCK_UNLOCKED(name) {false}
#define __sched
#define max(a, b) ((a) > (b) ? (a) : (b))
#define TASK_RUNNING 0
#define TASK_INTERRUPTIBLE 1
#define __TASK_STOPPED 4
#define __TASK_TRACED 8
#define TASK_PARKED 0x40
#define TASK_DEAD 0x80
#define TASK_IDLE 0x402
#define set_current_state(value) (current->__state = (value))
#define __set_current_state(value) (current->__state = (value))
#define get_task_struct(task) (task)
#define put_task_struct(task) ((void)(task))
static int reader_depth;
#define rcu_preempt_depth() reader_depth

struct list_head {
  struct list_head *next, *prev;
};
#define LIST_HEAD(name) struct list_head name = {&name, &name}
static bool list_empty(const struct list_head *list) { return list->next == list; }
static void list_add_tail(struct list_head *place, struct list_head *list) {
  *place = (struct list_head){.next = list, .prev = list->prev};
  list->prev->next = place;
  list->prev = place;
}
static void list_add(struct list_head *place, struct list_head *list) { list_add_tail(place, list->next); }
static void list_del(struct list_head *place) {
  place->prev->next = place->next;
  place->next->prev = place->prev;
}
#define list_first_entry(list, type, member) container_of((list)->next, type, member)
#define list_for_each_entry(each, list, member)                        \
  for ((each) = container_of((list)->next, __typeof__(*(each)), member); \
       &(each)->member != (list);                                        \
       (each) = container_of((each)->member.next, __typeof__(*(each)), member))
#define list_for_each_entry_reverse(each, list, member)                \
  for ((each) = container_of((list)->prev, __typeof__(*(each)), member); \
       &(each)->member != (list);                                        \
       (each) = container_of((each)->member.prev, __typeof__(*(each)), member))

// The lock, and another CPU.

static void (*other_cpu)(void);
static void raw_spin_lock(raw_spinlock_t *lock) {
  if (lock->is_held) __builtin_trap();
  lock->is_held = true;
}
static void raw_spin_unlock(raw_spinlock_t *lock) {
  void (*act)(void) = other_cpu;
  lock->is_held = false;
  other_cpu = NULL;
  if (act) act();
  other_cpu = act;
}
#define raw_spin_lock_irq raw_spin_lock
#define raw_spin_unlock_irq raw_spin_unlock
static int wake_up_state(struct task_struct *task, unsigned int state) {
  if (!(task->__state & state)) return 0;
  task->__state = TASK_RUNNING;
  return 1;
}

// What else pool.c needs. kstackd never runs: add_frames() does its work.

struct irq_work {
  void (*function)(struct irq_work *);
};
struct swait_queue_head {
  int unused;
};
#define DECLARE_SWAIT_QUEUE_HEAD(name) struct swait_queue_head name
#define IRQ_WORK_INIT_HARD(does) (struct irq_work){.function = does}
static void irq_work_queue(struct irq_work *work) {}
static void swake_up_one(struct swait_queue_head *queue) {}
#define swait_event_idle_exclusive(queue, condition) (void)(condition)
static void schedule_timeout_idle(long ticks) {}
#define NUMA_NO_NODE (-1)
#define for_each_node(node) for ((node) = 0; (node) < 1; (node)++)
#define cpu_to_node(cpu) 0
static void *kcalloc_node(size_t count, size_t size, gfp_t flags, int node) { return calloc(count, size); }
static void kfree(const void *memory) {}
static struct task_struct kernel_thread;
#define kthread_run(function, argument, name) ((void)(function), &kernel_thread)
#define IS_ERR(place) (!(place))
#define MIN_NICE (-20)
#define set_user_nice(task, nice) ((void)(task), (void)(nice))
#define sched_set_fifo(task) (void)(task)
int numa_node_id(void) { return 0; }
struct page *alloc_pages_node(int node, gfp_t flags, unsigned int order) {
  static unsigned long frames = 16;
  return pfn_to_page(frames++);
}
void __free_pages(struct page *page, unsigned int order) {}

#include <pool.c>
#define pool park_pool
#include <park.c>
#undef pool

struct cpu_frames kernelstacks_cpu;
struct task_struct *current = &task;

static void add_frames(unsigned int count) {
  while (count--) add_frame(0);
}

static void begin(unsigned int state, unsigned int frames) {
  other_cpu = NULL;
  record = (struct slot_record){.entries = entries, .missing = MOST_MISSING, .is_short = true};
  for (int i = 0; i < MOST_MISSING; i++) entries[i] = 0;
  task = (struct task_struct){.stack_vm_area = &record.area, .__state = state};
  kernelstacks_cpu.spare = &kernelstacks_cpu.set[0];
  kernelstacks_cpu.set[0].count = kernelstacks_cpu.set[1].count = 0;
  while (kernelstacks_pool.count) kernelstacks_take_frame();
  add_frames(frames);
}

// The first time that the thread has let the lock go, frames come, and who can be woken is woken.
static unsigned int acts;
static void bring_frames(void) {
  if (acts++) return;
  add_frames(MOST_MISSING);
  kernelstacks_wake_waiters();
}

static unsigned int blocked, yielded, lost;
static void switch_away(unsigned int mode) {
  blocked += mode == BLOCK;
  yielded += mode == YIELD;
  if (mode == BLOCK && current->__state != TASK_RUNNING) {
    lost++;
    current->__state = TASK_RUNNING;
  }
}

static void wait(const char *what, unsigned int state) {
  begin(state, 0);
  acts = blocked = yielded = lost = 0;
  other_cpu = bring_frames;
  kernelstacks_park(switch_away);
  other_cpu = NULL;
  printf("%s: sleeps %u, lost wakeups %u, looks again %u, then in state %x, has frames %d, waiting %u, woken %u\n", what,
         blocked, lost, yielded, task.__state, record.lent != NULL, kernelstacks_pool.waiting, woken);
  reader_depth = 0;
}

// Six waiters, of whom three are woken and, in an order of their own, come back.
static unsigned int misplaced(const int *order) {
  struct waiter waiters[6];
  struct task_struct tasks[6];
  struct slot_record records[6];
  unsigned int wrong = 0;
  struct waiter *each;
  int i = 0;

  for (i = 0; i < 6; i++) {
    records[i] = (struct slot_record){};
    tasks[i] = (struct task_struct){.stack_vm_area = &records[i].area};
    waiters[i] = (struct waiter){.task = &tasks[i], .turn = i};
    if (i < 5) enter_queue(&waiters[i]);
  }
  for (i = 0; i < 3; i++) leave_queue(&waiters[i]);
  enter_queue(&waiters[5]);
  for (i = 0; i < 3; i++) enter_queue(&waiters[order[i]]);
  i = 0;
  list_for_each_entry(each, &queue, place) wrong += each != &waiters[i++];
  while (!list_empty(&queue)) list_del(queue.next);
  return wrong + woken;
}

static void take(const char *what, unsigned int waiting, bool has_turn) {
  begin(TASK_RUNNING, 9);
  record.may_refill = has_turn;
  record.missing = 2;
  kernelstacks_pool.waiting = waiting;
  bool has_frames = kernelstacks_refill(&record, &kernelstacks_cpu);
  printf("%s: has frames %d, %u taken\n", what, has_frames, 9 - kernelstacks_pool.count);
  kernelstacks_pool.waiting = 0;
}

int main(void) {
  static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  unsigned int wrong = 0;

  kernelstacks_start_pool();
  wait("running", TASK_RUNNING);
  wait("asleep", TASK_INTERRUPTIBLE);
  wait("stopped", __TASK_STOPPED);
  wait("traced", __TASK_TRACED);
  wait("parked", TASK_PARKED);
  wait("dead", TASK_DEAD);
  reader_depth = 1;
  wait("reader", TASK_RUNNING);
  for (int i = 0; i < 6; i++) wrong += misplaced(orders[i]);
  printf("misplaced in the queue: %u\n", wrong);
  take("none wait", 0, false);
  take("others wait", 1, false);
  take("others wait, but it is its turn", 2, true);
  return 0;
}
