// The library's static state besides the allocators' own memory, and the instructions that Swift cannot express.
#ifndef KERNEL_STACKS_STATE_H
#define KERNEL_STACKS_STATE_H

#include "kernel_stacks.h"

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

#pragma clang assume_nonnull begin

// The stack of a thread that ends on it: it is freed when its CPU has left it. It lies in the CPU's record.
struct ks_leaving {
  ks_stacks stacks;
  void *_Nullable base;            // null: there is none
};
_Static_assert(sizeof(struct ks_leaving) <= sizeof(ks_cpu_record), "a record of the kernel holds it");

// For kernels that give no records of their CPUs.
extern ks_cpu_record kernel_stacks_cpu_records[KS_BUILT_IN_CPU_RECORDS];
static inline ks_cpu_record *_Nullable ks_built_in_cpu_records(uint32_t cpu_count) {
  return cpu_count <= KS_BUILT_IN_CPU_RECORDS ? kernel_stacks_cpu_records : (ks_cpu_record *_Nullable)0;
}

#define KS_MOST_ALLOCATORS 32

// What allocators of stacks get frames and addresses from: the library's own allocators, or the kernel's functions. They are called
// by pointers, so that a kernel with its own is linked without the library's.
//
// A physical address that is returned is 0 if the request was refused; bit 0 is set if it is no frame that could be used.
struct ks_frame_source {
  uint64_t (*_Nullable allocate)(uint32_t order, int32_t node, uint32_t purpose, bool cleared, bool may_sleep);
  // All of at most KS_MOST_TOGETHER frames for stacks, or none; 0: refused, 1: they are zero, 2: not known.
  uint32_t (*_Nullable allocate_together)(uint64_t *frames, size_t count, bool cleared);
  // Whether the frames were taken back.
  bool (*_Nullable release)(uint64_t physical, uint32_t order);
  int32_t (*_Nullable node_of)(uint64_t physical);
  uint64_t (*_Nullable total)(void);
  uint64_t (*_Nullable free_count)(void);
  int32_t (*_Nullable largest_free_order)(void);
  // Of linear stacks, which the kernel's functions have none of.
  enum ks_linear_block (*_Nullable linear_block)(uint64_t physical, size_t size);
  uint64_t node_count;
};
#define KS_MOST_TOGETHER 8

// What a frame is of which a caller says that a linear stack of a size begins there.
enum ks_linear_block { KS_BLOCK_IS_STACK, KS_BLOCK_IS_FREE, KS_BLOCK_IS_IN_STACK, KS_BLOCK_IS_FOREIGN };

struct ks_address_source {
  // 0: refused, for want of addresses, if `largest` is the largest gap, or of frames, if it is SIZE_MAX.
  uint64_t (*_Nullable reserve)(size_t size, size_t alignment, size_t phase, size_t *largest);
  void (*_Nullable release)(uint64_t address);
  uint64_t (*_Nullable entry)(uint64_t address, int32_t node);
  size_t (*_Nullable release_tables)(uint64_t start, size_t size);
};

struct ks_state {
  uint64_t linear_map_offset;
  uint64_t virtual_address_bits;
  uint64_t kernel_root;
  uint64_t cpu_count;
  uint64_t tracks_dirty_pages;
  uint64_t lends_pages;
  uint64_t is_initialized;         // 0 until ks_init, or one that takes functions, has succeeded
  void *_Nullable buddy;           // the library's own frames, where its records begin; null: the kernel's
  uint64_t record_bytes;           // of these records
  void *_Nullable area;            // the library's own vmalloc area; null: the kernel's
  struct ks_frame_source frames;
  struct ks_address_source addresses;
  ks_frame_functions kernel_frames;
  ks_address_functions kernel_addresses;
  void *_Nullable linear_stacks;   // the allocator of linear stacks, if there is one
  // Of the first CPU's registers what the library relies on: TCR_EL1, TTBR1_EL1, and where MAIR_EL1 has which memory.
  uint64_t translation_control, root_register;
  uint64_t normal_memory_index, device_memory_index;
  struct ks_leaving *_Nullable leaving;  // for each CPU
  uint64_t leaving_count;          // how many CPUs have one
  void *_Nullable allocators[KS_MOST_ALLOCATORS];  // of stacks; null: none
  uint64_t reclaimers;             // how many calls look at `allocators`
  void (*_Nullable misuse)(const ks_error *_Nullable);
};
extern struct ks_state kernel_stacks_state;
static inline struct ks_state *ks_state(void) { return &kernel_stacks_state; }

static inline struct ks_frame_source *ks_frames(void) { return &kernel_stacks_state.frames; }
static inline struct ks_address_source *ks_addresses(void) { return &kernel_stacks_state.addresses; }

static inline void ks_count_leaving(int64_t change) {
  __atomic_fetch_add(&kernel_stacks_state.leaving_count, change, __ATOMIC_RELAXED);
}
// Each CPU sees its own changes, which are those that it asks for.
static inline bool ks_is_any_leaving(void) {
  return __atomic_load_n(&kernel_stacks_state.leaving_count, __ATOMIC_RELAXED) != 0;
}

// The allocators that can be asked for their freed stacks. One that ends leaves first, and then sees whether anybody may have seen
// it; who asks says so first, and then looks. Of these four steps at least one sees the other side's.
static inline bool ks_enter_allocators(void *_Nullable allocator) {
  for (int index = 0; index < KS_MOST_ALLOCATORS; index++) {
    void *_Nullable expected = 0;
    if (__atomic_compare_exchange_n(
            &kernel_stacks_state.allocators[index], &expected, allocator, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
      return true;
    }
  }
  return false;
}
// False: somebody may use it; it has not left. Its place may have gone to another allocator meanwhile.
static inline bool ks_leave_allocators(void *_Nullable allocator) {
  for (int index = 0; index < KS_MOST_ALLOCATORS; index++) {
    if (__atomic_load_n(&kernel_stacks_state.allocators[index], __ATOMIC_RELAXED) != allocator) continue;
    __atomic_store_n(&kernel_stacks_state.allocators[index], (void *_Nullable)0, __ATOMIC_SEQ_CST);
  }
  if (__atomic_load_n(&kernel_stacks_state.reclaimers, __ATOMIC_SEQ_CST) == 0) return true;
  ks_enter_allocators(allocator);
  return false;
}
static inline void ks_begin_asking(void) { __atomic_fetch_add(&kernel_stacks_state.reclaimers, 1, __ATOMIC_SEQ_CST); }
static inline void ks_end_asking(void) { __atomic_fetch_sub(&kernel_stacks_state.reclaimers, 1, __ATOMIC_RELEASE); }
static inline void *_Nullable ks_allocator_at(int index) {
  return __atomic_load_n(&kernel_stacks_state.allocators[index], __ATOMIC_SEQ_CST);
}

// Where ks_init keeps the map of physical memory while it runs: kernels start on stacks of 4 KiB, where it would not fit.
#define KS_MEMORY_MAP_BYTES 2048
extern uint64_t kernel_stacks_memory_map[KS_MEMORY_MAP_BYTES / 8];
static inline void *ks_memory_map(void) { return kernel_stacks_memory_map; }

// The handle of the vmalloc area.
#define KS_AREA_BYTES 64
extern uint64_t kernel_stacks_area[KS_AREA_BYTES / 8];
static inline void *ks_area_handle(void) { return kernel_stacks_area; }

struct ks_lock_line {
  _Alignas(64) uint64_t lock;
};

// Of checked builds: the frames of the kernel that the library has, and their number.
#define KS_CHECKED_FRAMES 65536
extern struct ks_lock_line kernel_stacks_checked_lock;
extern uint64_t kernel_stacks_checked_frames[KS_CHECKED_FRAMES + 1];
static inline uint64_t *ks_checked_frames(void) { return kernel_stacks_checked_frames; }
static inline uint64_t *ks_checked_frame_count(void) { return &kernel_stacks_checked_frames[KS_CHECKED_FRAMES]; }
static inline uint64_t *ks_checked_frames_lock(void) { return &kernel_stacks_checked_lock.lock; }

// The lock under which ks_map and ks_unmap change tables.
extern struct ks_lock_line kernel_stacks_mapping_lock;
static inline uint64_t *ks_mapping_lock(void) { return &kernel_stacks_mapping_lock.lock; }
// The lock under which the linear stack at an address is freed; these are at least 4 KiB, and mostly 16 KiB.
#define KS_FREE_LOCKS 32
extern struct ks_lock_line kernel_stacks_free_locks[KS_FREE_LOCKS];
static inline uint64_t *ks_free_lock(uintptr_t address) {
  return &kernel_stacks_free_locks[(address >> 13 ^ address >> 18) % KS_FREE_LOCKS].lock;
}

// The physical address to which the MMU translates a store at EL1, or -1.
static inline uint64_t ks_translate_for_writing(uintptr_t address) {
  uint64_t result;
  __asm__ volatile("at s1e1w, %1\n\tisb\n\tmrs %0, par_el1" : "=r"(result) : "r"(address) : "memory");
  return result & 1 ? UINT64_MAX : (result & 0x0000fffffffff000) | (address & 0xfff);
}

static inline const char *ks_text_in(const ks_error *error) { return error->text; }

// The caller's stack pointer, be it SP_EL0 or SP_EL1.
static inline uintptr_t ks_stack_pointer(void) {
  uintptr_t value;
  __asm__ volatile("mov %0, sp" : "=r"(value));
  return value;
}
// Where the caller's frame record is, on the same stack: for a caller that has one anyway, and then need not copy SP.
static inline uintptr_t ks_frame_address(void) { return (uintptr_t)__builtin_frame_address(0); }

#pragma clang assume_nonnull end

#endif
#endif
