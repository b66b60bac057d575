// The library's static state, and its default services for kernels without their own: interrupts by DAIF, spin locks.
#include "kernel_stacks_state.h"

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

struct ks_state kernel_stacks_state;
ks_cpu_record kernel_stacks_cpu_records[KS_BUILT_IN_CPU_RECORDS];
uint64_t kernel_stacks_memory_map[KS_MEMORY_MAP_BYTES / 8];
uint64_t kernel_stacks_area[KS_AREA_BYTES / 8];
struct ks_lock_line kernel_stacks_mapping_lock;
struct ks_lock_line kernel_stacks_free_locks[KS_FREE_LOCKS];
struct ks_lock_line kernel_stacks_checked_lock;
uint64_t kernel_stacks_checked_frames[KS_CHECKED_FRAMES + 1];

__attribute__((weak)) uint32_t ks_machine_node(void) { return 0; }

__attribute__((weak)) uintptr_t ks_machine_disable_interrupts(void) {
  uintptr_t state;
  __asm__ volatile("mrs %0, daif\n\tmsr daifset, #3" : "=r"(state)::"memory");
  return state;
}

__attribute__((weak)) void ks_machine_restore_interrupts(uintptr_t state) {
  __asm__ volatile("msr daif, %0" ::"r"(state) : "memory");
}

// Any CPU that finds a lock free takes it. A queue would be fairer, but where a hypervisor stops CPUs, all would wait for
// the one whose turn it is; and these locks are held only briefly.
__attribute__((weak)) uintptr_t ks_machine_lock(uint64_t *lock) {
  uintptr_t state = ks_machine_disable_interrupts();
  __asm__ goto(
      "1:	ldaxr	x16, [%0]\n"
      "	cbnz	x16, %l2\n"
      "	stxr	w16, %1, [%0]\n"
      "	cbnz	w16, 1b\n"
      :
      : "r"(lock), "r"((uint64_t)1)
      : "x16", "memory"
      : taken);
  return state;
taken:
  for (;;) {
    uint64_t value;
    // After this load WFE waits until another CPU stores to the same line.
    __asm__ volatile("ldaxr %0, [%1]" : "=r"(value) : "r"(lock) : "memory");
    uint64_t expected = 0;
    if (value != 0) {
      __asm__ volatile("wfe" ::: "memory");
    } else if (__atomic_compare_exchange_n(lock, &expected, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
      return state;
    }
  }
}

__attribute__((weak)) void ks_machine_unlock(uint64_t *lock, uintptr_t state) {
  __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
  ks_machine_restore_interrupts(state);
}

#endif
