// KernelStacks for kernels in C: thread stacks, page frames and the vmalloc area of an arm64 kernel.
//
// The library is built for EL1 with 4 KiB pages and 39-bit or 48-bit addresses. docs/c-interface.md explains how a kernel
// is joined with it, Fixtures/CKernel is a complete one.
//
//   ks_init             describes memory; once, on the first CPU, with the MMU on. A kernel that has a page allocator, or page
//                       tables, calls ks_init_with_frames or ks_init_with_addresses
//   ks_stacks_make      makes an allocator of stacks; a kernel may have several
//   ks_stack_allocate   gives a zeroed stack for a thread
//   ks_stack_free       takes it back, and reports an address of no stack or of a freed one
//
// Addresses of the kernel's space are pointers, physical ones `uint64_t`; 0 is never a physical address that is handed out.
// Sizes are in bytes unless a name says frames, pages or KiB; a page frame has 4,096 bytes. Nodes are NUMA nodes;
// KS_ANY_NODE is the current CPU's.
//
// Every function may be called on several CPUs at once, with interrupts on or off, and never sleeps, unless it says otherwise.
// A `ks_error` parameter may be null. Nothing has changed when a function fails. Unless noted, costs do not depend on the
// number of stacks.
#ifndef KERNEL_STACKS_H
#define KERNEL_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define KS_CHECKED __attribute__((warn_unused_result))
#else
#define KS_CHECKED
#endif

// MARK: What the kernel supplies
//
// Besides these functions, one instruction: `dsb ish`, on a CPU that has switched away from a thread, before another CPU may
// run that thread; and on one that has made a thread, before others may run it. The library waits for TLB invalidations with
// interrupts on if they were on, and a CPU's barrier waits only for what that CPU began. Also, no lock orders what CPUs write
// into page-table entries by themselves.

// The number of the current CPU, from 0 and below `ks_configuration.cpu_count`. The kernel must define it; the result
// matters only while interrupts are off.
uint32_t ks_machine_cpu(void);

// The library has weak definitions of these, which are used unless the kernel has its own.
uint32_t ks_machine_node(void);                        // the current CPU's node: 0
uintptr_t ks_machine_disable_interrupts(void);         // masks IRQ and FIQ; gives the state to restore
void ks_machine_restore_interrupts(uintptr_t state);   // DAIF as it was
uintptr_t ks_machine_lock(uint64_t *lock);             // disables interrupts, then takes a spin lock; 0 is unlocked
void ks_machine_unlock(uint64_t *lock, uintptr_t state);

// MARK: The stack of the caller
//
// The bytes that a function needs below its caller's stack pointer. What the kernel's own functions need comes on top, and what
// frames and addresses need, if they are the library's: calls that may ask for these belong on 8 KiB then. A test of the library
// compares the numbers with the built code. Other functions have no stated bound.
#define KS_INIT_STACK 640      // ks_init, ks_init_with_frames, ks_init_with_addresses
#define KS_MAKE_STACK 1152     // ks_stacks_make
#define KS_ALLOCATE_STACK 512  // ks_stack_allocate, ks_sized_stack_allocate
#define KS_FREE_STACK 512      // ks_stack_free, ks_sized_stack_free, ks_stacks_reclaim, ks_stacks_serve_reclaim, ks_stacks_age,
                               // ks_stacks_end, ks_stack_prepare_to_run
#define KS_FAULT_STACK 128     // ks_stack_fault, ks_stacks_take_back, ks_stack_classify, ks_stack_classify_address

// MARK: Errors

typedef enum ks_code {
  KS_OK = 0,
  KS_NOT_INITIALIZED,      // ks_init or ks_stacks_make has not succeeded yet
  KS_ALREADY_INITIALIZED,  // ks_init has succeeded before
  KS_BAD_MACHINE,          // the CPU's registers or the kernel's tables are not what was described
  KS_BAD_MEMORY,           // the ranges of memory contradict each other
  KS_BAD_CONFIGURATION,    // the configuration of stacks contradicts itself or the machine
  KS_BAD_ARGUMENT,         // a null pointer, a size, an alignment, an order, a node
  KS_NO_FRAMES,            // too little memory, or in too small pieces
  KS_NO_ADDRESS_SPACE,     // the vmalloc area has no gap that is large enough
  KS_NO_SLOTS,             // as many stacks as were configured are in use
  KS_THREADS_WAIT,         // threads wait for frames that their stacks may need: no new stack takes any before them
  KS_GROUP_LIMIT,          // the group has as much stack memory as it may have
  KS_NO_GROUPS,            // as many groups as were configured exist
  KS_UNKNOWN_GROUP,        // there is no such group
  KS_BEYOND_STACK,         // more bytes than the stack has
  KS_FOREIGN_ADDRESS,      // nothing at the address was handed out here
  KS_INNER_ADDRESS,        // the address lies within something that was handed out, above its beginning
  KS_DOUBLE_FREE,          // the stack, area or block at the address has been freed already
  KS_RUNNING_STACK,        // the caller runs on the stack that it frees
  KS_BOOT_STACK,           // the boot stack is never freed
  KS_IN_USE,               // the allocator or group to be removed is still in use
  KS_OCCUPIED,             // something else is mapped at the address
  KS_NO_RESERVE,           // the CPU's reserve is too small: the thread was switched in without ks_stack_prepare_to_run
  KS_CANNOT_LEND,          // a CPU does not set access flags by itself, has no CAS, or its table walks are not coherent
  KS_NO_ALLOCATORS,        // as many allocators of stacks exist as there can be: 32
  KS_BAD_FRAME,            // a function of the kernel gave a frame or an entry that is none, or is in use; or other code has
                           // mapped something in the vmalloc area
  KS_NOT_OWNED,            // the call is about frames or addresses of the library, and they are the kernel's own
} ks_code;

#define KS_ERROR_TEXT_SIZE 176

// The reason of a refusal: the request, what was available, and a line of text. Fields that do not apply are 0.
typedef struct ks_error {
  ks_code code;
  uint64_t address;                 // the address concerned, of the kernel's space or physical
  uint64_t requested;               // the request, in bytes or as a number
  uint64_t available;               // what was available: free bytes, the limit, the largest allowed
  uint64_t largest;                 // the largest free block or gap, in bytes
  char text[KS_ERROR_TEXT_SIZE];    // UTF-8, ends with 0
} ks_error;

// The text of an error, or of a code alone. Never null.
const char *ks_error_text(const ks_error *error);
const char *ks_code_text(ks_code code);

// MARK: Memory

typedef struct ks_memory_range {
  uint64_t start;
  uint64_t size;
  uint32_t node;  // of memory; reserved ranges have none
} ks_memory_range;

#define KS_ANY_NODE (-1)

// A CPU's record, for kernels whose frames are their own; all 0.
typedef struct ks_cpu_record {
  void *opaque[2];
} ks_cpu_record;

typedef struct ks_configuration {
  uint64_t linear_map_offset;       // physical address + this = address where RAM is mapped, writable and cacheable
  uint64_t kernel_root;             // the root table of the kernel's half, physical; 0: TTBR1_EL1 names it
  uint64_t vmalloc_start;           // kernel addresses for the library alone; their root entries are empty.
  uint64_t vmalloc_end;             // Both 0: 0xffffff8040000000, or with 48 bits 0xffff008000000000, and as much as fits
  uint32_t cpu_count;               // all CPU numbers are below it
  bool tracks_dirty_pages;          // all CPUs keep dirty state (TCR_EL1.HA and HD are set), and no erratum loses it
  bool lends_pages;                 // growing stacks get their pages at each switch, by ks_stack_lend, and not by faults: all CPUs
                                    // set access flags (FEAT_HAFDBS, TCR_EL1.HA is set), no erratum loses one, and have FEAT_LSE
  const ks_memory_range *memory;    // RAM: at most 32 ranges, on at most 64 nodes
  size_t memory_count;
  const ks_memory_range *reserved;  // memory in use: the kernel image, the device tree, ...; ranges may overlap
  size_t reserved_count;
  void (*misuse)(const ks_error *); // called for every free that is refused, and for what is wrong with what the kernel's own
                                    // functions give; may be null. Interrupts may be off
  ks_cpu_record *cpu_records;       // for ks_init_with_frames and ks_init_with_addresses: one for each CPU, which stay
} ks_configuration;

// Checks the description against the CPU's registers and tables, takes memory for the records (12 bytes for each frame), and
// frees all memory that is not reserved. Called once, while no other CPU uses the library.
KS_CHECKED ks_code ks_init(const ks_configuration *configuration, ks_error *error);

// MARK: A kernel's own frames and addresses
//
//                            frames           addresses and tables
//   ks_init                  the library's    the library's
//   ks_init_with_frames      the kernel's     the library's, under root entries of its own
//   ks_init_with_addresses   the kernel's     the kernel's
//
// What is not the library's is not linked, with --gc-sections: no buddy allocator, no vmalloc area. Calls about its frames
// (ks_frames_..., ks_add_memory, ks_remove_memory, ks_zero_one_frame) and KS_LINEAR are refused then, with KS_NOT_OWNED where there is a code; without the vmalloc
// area also ks_vmalloc, ks_vfree, ks_map and ks_unmap, and ks_physical_address gives 0.
//
// The functions are called on all CPUs at once, on the stack of who calls the library. They call nothing of the library, except
// that `allocate` may call ks_reclaim.

typedef struct ks_frame_functions {
  void *context;                    // the first argument of each
  // Hands out a frame of 4,096 bytes that the linear map has: on that node if it can, zeroed if `cleared`; 0: there is none.
  // Without `may_sleep` it does not sleep; interrupts may be off. With it no lock of the library is held, and interrupts are as
  // they were when the library was called: it may sleep if that caller may.
  uint64_t (*allocate)(void *context, int node, bool cleared, bool may_sleep);
  // Takes a frame back. Never sleeps; interrupts may be off, and locks of the library held.
  void (*free)(void *context, uint64_t physical);
  int (*node_of)(void *context, uint64_t physical);  // of a frame; may be null if there is one node
  uint64_t (*total)(void *context);                  // how many frames there are, free or not
  uint64_t (*free_count)(void *context);             // how many are free, for texts of refusals; may be null
  uint32_t node_count;                               // 1 to 64
} ks_frame_functions;

typedef struct ks_address_functions {
  void *context;
  // Reserves kernel addresses that nothing is mapped at: `phase` bytes above a multiple of `alignment`; all three are multiples of
  // 4,096. 0: there is no room. Called by ks_stacks_make.
  uintptr_t (*reserve)(void *context, size_t size, size_t alignment, size_t phase);
  void (*release)(void *context, uintptr_t address);  // may be null: the addresses stay reserved
  // The physical address of the last-level entry of a reserved address, after building the tables that are missing; 0: there is no
  // memory for them. The 512 entries beside it are empty at first, and the library's. May sleep if who calls the library may.
  uint64_t (*entry)(void *context, uintptr_t address, int node);
  // Frees the last-level tables of a range, all of whose entries are empty, once no CPU walks them any more (TLBI VAAE1IS, DSB);
  // returns their number. May be null: tables stay.
  size_t (*free_tables)(void *context, uintptr_t address, size_t size);
} ks_address_functions;

// Do what ks_init does, for a kernel that gives functions, which are copied. `cpu_records` is used, `memory` and `reserved` are
// not; nor, without the library's vmalloc area, `vmalloc_start`, `vmalloc_end` and `kernel_root`. Each takes a frame, looks at it, and
// gives it back.
KS_CHECKED ks_code ks_init_with_frames(
    const ks_configuration *configuration, const ks_frame_functions *frames, ks_error *error);
KS_CHECKED ks_code ks_init_with_addresses(
    const ks_configuration *configuration, const ks_frame_functions *frames, const ks_address_functions *addresses,
    ks_error *error);

// Gives back about as many frames of freed stacks, of all allocators, as were asked for; returns their number. A kernel's page
// allocator calls it when it runs short, without its locks, for the frames come by `free`.
size_t ks_reclaim(size_t frames);

// Checks that this CPU may use the library: its number, and what the library relies on in its registers, which must be as on the
// first CPU; and that it can lend pages, if the kernel does. Each CPU that has started calls it before it runs threads.
KS_CHECKED ks_code ks_check_cpu(ks_error *error);

// Hands over RAM later: whole frames of one range of `memory` that were `reserved` until now, of a device tree or a boot loader that
// are not needed any more, or of memory that came only now. The records of all ranges are made by ks_init, so these take nothing;
// an allocator of stacks made before keeps its `capacity`. Reserved memory is not looked at before: it is mapped when it is handed
// over. KS_BAD_ARGUMENT: not whole frames, or none; KS_BAD_MEMORY: in no range, or not reserved; KS_IN_USE: another CPU is in one of
// these two functions, call it again. Costs grow with the size; interrupts are off for 1,024 frames at a time.
KS_CHECKED ks_code ks_add_memory(uint64_t start, uint64_t size, ks_error *error);
// Takes whole frames of one range back; they are reserved then. All are free, or only freed stacks and areas have them, which are
// given back first; else KS_IN_USE, with the first frame in use, and the same frames are handed out as before. Other CPUs give their
// freed stacks back by ks_stacks_serve_reclaim: call this again after they have.
KS_CHECKED ks_code ks_remove_memory(uint64_t start, uint64_t size, ks_error *error);

typedef enum ks_purpose { KS_USER_MEMORY, KS_TASK_RECORD, KS_OTHER_USE } ks_purpose;

// Allocates a block of 2^order physically contiguous frames, aligned to its size; order 0 to 10. 0: refused. Freed stacks that are
// kept for reuse are given back before it refuses, of this CPU and those that all share.
KS_CHECKED uint64_t ks_frames_allocate(unsigned order, ks_purpose purpose, bool cleared, int node, ks_error *error);
ks_code ks_frames_free(uint64_t physical, unsigned order, ks_error *error);

typedef struct ks_memory_figures {
  uint64_t total_frames;            // frames that can be handed out
  uint64_t free_frames;
  uint64_t zeroed_frames;           // of the free frames
  int32_t largest_free_order;       // -1: nothing is free
  uint32_t unusable_permille;       // the share of free memory in blocks too small for order 2, in 1/1,000
} ks_memory_figures;
// The figures of a node, or with KS_ANY_NODE of all. All 0 if there is no such node.
ks_memory_figures ks_memory_figures_of(int node);

// Clears a free frame for a later request; for CPUs that idle. False: nothing to do.
bool ks_zero_one_frame(void);
// Merges the free frames in the lists of a CPU that has stopped; returns their number.
size_t ks_frames_drain_cpu(uint32_t cpu);

// MARK: The vmalloc area

// Allocates virtually contiguous memory of single frames, zeroed, with an unmapped guard page above. `alignment` is a power
// of two from 4,096 up. `caller` names it in the listing: text that stays, or null.
KS_CHECKED void *ks_vmalloc(size_t size, size_t alignment, int node, const char *caller, ks_error *error);
ks_code ks_vfree(void *address, ks_error *error);
// Frees all areas that wait for a TLB invalidation; returns the number of frames that came free.
size_t ks_vmalloc_flush(void);

typedef struct ks_vmalloc_figures {
  uint64_t areas, mapped_pages;          // in use; areas of stacks count, their pages don't
  uint64_t retired_areas, retired_pages; // freed, waiting for an invalidation
  uint64_t table_frames, record_frames;
} ks_vmalloc_figures;
ks_vmalloc_figures ks_vmalloc_figures_now(void);

// MARK: Mappings

typedef enum ks_permissions { KS_READ_WRITE, KS_READ_ONLY, KS_EXECUTE } ks_permissions;
typedef enum ks_memory_kind { KS_NORMAL, KS_DEVICE } ks_memory_kind;

// Maps physical memory, RAM or a device's, for the kernel. `address`, `physical` and `size` are multiples of 4,096. The root
// entries that the range needs are empty, or were filled by this function; they are not those of the vmalloc area.
KS_CHECKED ks_code ks_map(
    void *address, uint64_t physical, size_t size, ks_permissions permissions, ks_memory_kind kind, ks_error *error);
// Unmaps a range that ks_map has mapped, and waits for the TLB invalidation.
ks_code ks_unmap(void *address, size_t size, ks_error *error);
// The physical address that the kernel's tables have for an address; 0: not mapped.
uint64_t ks_physical_address(const void *address);

// MARK: Stacks

typedef enum ks_strategy {
  KS_LINEAR,   // one contiguous block of the linear map: refused when memory is fragmented, no guard; one allocator at most
  KS_VMALLOC,  // single frames in the vmalloc area, with an unmapped guard below
  KS_GROWING,  // one frame of those, more when they are needed: on a fault, by ks_stack_prepare_to_run and ks_stack_fault; or lent,
               // by ks_stack_lend and ks_stacks_take_back
} ks_strategy;

typedef struct ks_stack_configuration {
  ks_strategy strategy;
  bool thread_info_at_top;          // for KS_GROWING always
  uint32_t size;                    // multiples of 4,096 up to 256 KiB; for KS_LINEAR a power of two
  uint32_t guard_minimum;           // unmapped bytes below, at least the largest stack frame of any function
  uint32_t phase;                   // bytes that slots lie above multiples of their size
  uint32_t thread_info_size;        // a multiple of 16
  uint32_t capacity;                // the greatest number of stacks; 0: as many as memory holds
  uint32_t cached_per_cpu;          // freed stacks that a CPU keeps: 0 to 64
  uint32_t depot;                   // freed stacks that CPUs share: 0 to 4,096
  uint32_t retirement_batch;        // unmapped stacks that one TLB invalidation serves: 1 to 256
  uint32_t groups;                  // groups with a limit: 0 to 1,024; 0 for KS_LINEAR
  void *records;                    // memory for the records, mapped on all CPUs, from a multiple of 64 on; it stays until
  size_t records_size;              // ks_stacks_end. Null: frames of the library's own
} ks_stack_configuration;

// 16 KiB, the smallest guard, 8 stacks cached by each CPU, 256 by all, 64 for an invalidation, no groups.
ks_stack_configuration ks_stack_defaults(ks_strategy strategy);

// An allocator of stacks; zero until it is made. All copies are the same allocator.
typedef struct ks_stacks {
  void *opaque;
} ks_stacks;

// The bytes that the records of such an allocator take; 0: the configuration is refused.
size_t ks_stacks_records_size(const ks_stack_configuration *configuration, ks_error *error);
// Makes an allocator, and takes memory for its records unless it is given.
KS_CHECKED ks_code ks_stacks_make(ks_stacks *stacks, const ks_stack_configuration *configuration, ks_error *error);
// Frees all memory of an allocator. None of its stacks is in use, and no other CPU uses the allocator; KS_IN_USE also while
// ks_frames_allocate or ks_reclaim takes freed stacks back, or ks_stacks_at looks: call it again.
KS_CHECKED ks_code ks_stacks_end(ks_stacks *stacks, ks_error *error);

// The layout of stacks. Exceptions take `current` from the thread record; code on a stack may use ks_thread_info.
typedef struct ks_stack_geometry {
  uint32_t size, stride, phase;
  uint32_t thread_info_offset;      // above the base
  uint32_t usable_offset, usable_end; // above the base: the part for stack frames. The end is the first stack pointer
} ks_stack_geometry;
ks_stack_geometry ks_stacks_geometry(const ks_stacks *stacks);

// The base of the stack in whose slot a stack pointer is, be it on the stack or in the guard below.
static inline uintptr_t ks_stack_base(const ks_stack_geometry *geometry, uintptr_t stack_pointer) {
  uintptr_t slot = (stack_pointer - 1 - geometry->phase) & ~((uintptr_t)geometry->stride - 1);
  return slot + geometry->phase + geometry->stride - geometry->size;
}
static inline uintptr_t ks_thread_info(const ks_stack_geometry *geometry, uintptr_t stack_pointer) {
  return ks_stack_base(geometry, stack_pointer) + geometry->thread_info_offset;
}

// Allocates a zeroed stack; returns its base, or null.
KS_CHECKED void *ks_stack_allocate(const ks_stacks *stacks, int node, ks_error *error);
// Frees a stack. The thread that ran on it has left it: its successor calls this. A stack that was freed already, an
// address of no stack, and the stack that the caller runs on are refused, and reported to `misuse`. An address that was
// freed and has been handed out again is not recognised.
ks_code ks_stack_free(const ks_stacks *stacks, void *base, ks_error *error);
// Frees the stack that the caller runs on, when it has left it: the thread ends, and has no successor that would free it. The next
// of these calls on this CPU frees it, if the caller has left it then: ks_stack_allocate, ks_stack_allocate_for_group,
// ks_stack_free, ks_stack_free_when_left, ks_stack_prepare_to_run, ks_stack_lend, ks_stacks_reclaim, ks_reclaim,
// ks_frames_allocate, ks_stacks_serve_reclaim, ks_stacks_age, ks_stacks_end; or ks_stacks_drain_cpu for this CPU. Until then it
// is in use. Interrupts are off from this call until the thread has left its stack for the last time. What ks_stack_free refuses
// is refused, the caller's own stack apart.
ks_code ks_stack_free_when_left(const ks_stacks *stacks, void *base, ks_error *error);
// Takes a freed stack out of the cache for good, because it may still be in use; returns whether it was there.
bool ks_stack_quarantine(const ks_stacks *stacks, void *base);

// The allocator among whose stacks or guards an address lies, if any: a kernel with an allocator for each size of stacks need not
// keep in mind which one a stack is from. Of linear stacks, those in use and freed ones that are cached are
// found; boot stacks are not. Costs grow with the number of allocators, and CPUs that call it at once share a word; while one
// does, ks_stacks_end answers KS_IN_USE.
ks_stacks ks_stacks_at(uintptr_t address);

// Stacks of several sizes: an allocator for each, behind one handle, which stays where it is while it is in use. A request gets the
// smallest size that is large enough; a stack is freed by its address alone, which costs one comparison for each size before
// its own, and shares no word among CPUs.
#define KS_MOST_SIZES 8
typedef struct ks_sized_stacks {
  ks_stacks allocators[KS_MOST_SIZES];  // for calls about one size, such as ks_stacks_age; ascending
  uint32_t count;
} ks_sized_stacks;

// Makes `count` allocators, 1 to KS_MOST_SIZES, none of KS_LINEAR, whose sizes ascend. All or none are made.
KS_CHECKED ks_code ks_sized_stacks_make(
    ks_sized_stacks *stacks, const ks_stack_configuration *configurations, size_t count, ks_error *error);
// Ends all, if no stack of any is in use. It waits for ks_reclaim and others that look at them.
KS_CHECKED ks_code ks_sized_stacks_end(ks_sized_stacks *stacks, ks_error *error);
// Allocates a zeroed stack of at least `size` bytes, thread_info included; returns its base, or null.
KS_CHECKED void *ks_sized_stack_allocate(const ks_sized_stacks *stacks, size_t size, int node, ks_error *error);
// Frees a stack, as ks_stack_free does.
ks_code ks_sized_stack_free(const ks_sized_stacks *stacks, void *base, ks_error *error);
// The allocator among whose stacks or guards an address lies, for all other calls; null: none.
const ks_stacks *ks_sized_stack_owner(const ks_sized_stacks *stacks, uintptr_t address);

// Registers the static stack on which the kernel booted. It is laid out like all others, and is never freed.
KS_CHECKED ks_code ks_stacks_adopt_boot_stack(
    const ks_stacks *stacks, void *base, uint64_t physical, ks_error *error);

typedef enum ks_place {
  KS_ON_STACK,       // on a stack in use
  KS_IN_GUARD,       // below a stack in use: it has overflowed
  KS_IN_UNUSED_SLOT, // where there is no stack now
  KS_ON_BOOT_STACK,
  KS_IN_LINEAR_MAP,  // where a linear stack would have these bounds
  KS_ELSEWHERE,
  KS_UNALIGNED,      // no stack pointer: not a multiple of 16
} ks_place;
typedef struct ks_stack_place {
  ks_place place;
  uint64_t base, top;  // of that stack, or 0
} ks_stack_place;
// Classifies a stack pointer; one at a stack's top is on that stack.
ks_stack_place ks_stack_classify(const ks_stacks *stacks, uintptr_t stack_pointer);
// Classifies any address, such as one that faulted.
ks_stack_place ks_stack_classify_address(const ks_stacks *stacks, uintptr_t address);
// The physical address of the frame behind an address on a stack; 0: none.
uint64_t ks_stack_page_of(const ks_stacks *stacks, uintptr_t address);
// The mapped part of a stack, and the most that its thread has used, both counted from the top.
size_t ks_stack_mapped_size(const ks_stacks *stacks, const void *base);
size_t ks_stack_high_water_size(const ks_stacks *stacks, const void *base);

// Where CPUs keep dirty state, a stack is cleared where it was stored to through its own addresses. Code that stores to a stack
// in use by another way, such as the linear map or a device, calls this before the stack is freed. So does a thread that stores
// to pages of another thread's stack to which that thread has not stored.
void ks_stack_mark_written(const ks_stacks *stacks, uintptr_t address, size_t size);
// The part of a stack that its owners have stored to since it was mapped, in whole pages; all of it where that is not known.
size_t ks_stack_dirty_size(const ks_stacks *stacks, const void *base);

// MARK: Stacks that grow
//
// Functions marked (exception stack) are called with interrupts off, on a stack that is mapped whole and belongs to no thread.

typedef enum ks_growth {
  KS_GROWN,              // mapped, now or before this call: repeat the access
  KS_NOT_GROWTH,         // not on the running thread's stack: the fault has another cause
  KS_RESERVE_TOO_SMALL,  // the thread was switched in without ks_stack_prepare_to_run
} ks_growth;
// (exception stack) Handles a translation fault, and no other. `base` is from the running thread's record, or null.
// Where pages are lent, no fault is growth.
ks_growth ks_stack_fault(const ks_stacks *stacks, uintptr_t address, const void *base);
// (exception stack) Refills this CPU's reserve, and returns whether a thread may be switched in: whether its stack could grow
// to the end. If not, it waits. Threads that wait are tried first, in the order in which they came; while there are any, others
// are tried with `may_take_frames` false.
KS_CHECKED bool ks_stack_prepare_to_run(const ks_stacks *stacks, const void *base, bool may_take_frames);
// (exception stack) Grows the running thread's stack at once, so that `size` bytes below its stack pointer take no fault. If it
// fails, nothing has been mapped.
KS_CHECKED ks_code ks_stack_ensure(
    const ks_stacks *stacks, size_t size, uintptr_t stack_pointer, const void *base, ks_error *error);
// Maps the topmost `size` bytes of a stack on which no thread runs.
KS_CHECKED ks_code ks_stack_populate(const ks_stacks *stacks, void *base, size_t size, ks_error *error);
// Two calls at the switch, for a kernel with `lends_pages`, in place of the stack fault, ks_stack_prepare_to_run and
// ks_stack_ensure. Exceptions may be taken on threads' stacks: no access to the running thread's stack ever faults.
//
//   thread A runs | ks_stacks_take_back | choose B | ks_stack_lend(B) | thread B runs
//                 '------- on a stack of the CPU, interrupts off -----'
//
// (exception stack) Maps all pages that a thread's stack lacks, from this CPU's reserve, after refilling it, and returns true: the
// thread may be switched to on this CPU. False: there are too few frames, nothing was mapped, and the thread waits, as after
// ks_stack_prepare_to_run: the kernel keeps it in a queue, chooses another, and tries those that wait first, in the order in
// which they came, at each later switch; while there are any, others are tried with `may_take_frames` false. A thread of any
// other stack, or of a kernel that does not lend, only gets what ks_stack_prepare_to_run answers.
KS_CHECKED bool ks_stack_lend(const ks_stacks *stacks, const void *base, bool may_take_frames);
// (exception stack) Takes back what was lent on this CPU and was not touched; the rest is the thread's. Called when the thread
// has left its stack, before another CPU may run it, its stack is freed or shrunk, or ks_stack_lend is called again, which would
// stop the CPU (BRK).
void ks_stacks_take_back(const ks_stacks *stacks);
// Records the number of threads that wait: while there are any, ks_stack_allocate takes no frames.
void ks_stacks_note_waiting_threads(const ks_stacks *stacks, size_t count);
// The number of pages that a stack lacks: a thread that waits needs as many frames.
size_t ks_stack_missing_pages(const ks_stacks *stacks, const void *base);
// (exception stack) Gives this CPU's reserve back, for a CPU that idles on a stack of its own; returns the number of frames.
size_t ks_stacks_release_reserve(const ks_stacks *stacks);
// (exception stack) Fills this CPU's reserve, as far as memory allows.
void ks_stacks_fill_reserve(const ks_stacks *stacks);
// Fills the pool from which CPUs take what their reserves lack when no frame is to be had, as much as all reserves; returns whether
// it is full. May sleep if the kernel's own page allocator does: a thread calls it now and then, and after a thread had to wait.
bool ks_stacks_fill_pool(const ks_stacks *stacks);

// Shrinking: the pages below a sleeping thread's stack pointer are unmapped, for several threads; one invalidation serves all;
// then the pages of each stack are released. Until then they may be restored, for a thread that is to run. A thread that is
// being shrunk is not switched in. The functions return the number of pages.
typedef struct ks_shrink_batch {
  uint64_t opaque[3];  // all 0: empty
} ks_shrink_batch;
size_t ks_stack_retire_dead_pages(
    const ks_stacks *stacks, void *base, uintptr_t stack_pointer, ks_shrink_batch *batch);
void ks_shrink_complete(const ks_stacks *stacks, ks_shrink_batch *batch);
size_t ks_stack_release_retired_pages(const ks_stacks *stacks, void *base);
size_t ks_stack_restore_retired_pages(const ks_stacks *stacks, void *base);

// MARK: Vectors of kernels that take exceptions on the stacks of their threads (kernel_stacks_vectors.h)

// A thread's registers at an exception.
typedef struct ks_registers {
  uint64_t x[31];
  uint64_t stack_pointer, instruction, state;  // SP, ELR_EL1, SPSR_EL1
  uint64_t syndrome, address;                  // ESR_EL1, FAR_EL1
} ks_registers;

// How a vector goes on after a stack has been mapped for it.
typedef enum ks_entry { KS_ENTER, KS_REPEAT } ks_entry;

// MARK: Groups of threads with a limit on their stack memory

// The pages of a group's stacks are charged to it until the stacks are freed. A stack that would exceed the limit is refused;
// growth is charged, but never refused.
typedef struct ks_group_figures {
  uint64_t charged_frames, limit_frames, refusals;
} ks_group_figures;
// Makes a group; returns its number, from 0, or -1.
KS_CHECKED int ks_group_make(const ks_stacks *stacks, size_t limit_frames, ks_error *error);
KS_CHECKED ks_code ks_group_set_limit(const ks_stacks *stacks, int group, size_t limit_frames, ks_error *error);
// Removes a group that has no stacks; no CPU allocates for the group meanwhile.
KS_CHECKED ks_code ks_group_remove(const ks_stacks *stacks, int group, ks_error *error);
KS_CHECKED ks_code ks_group_figures_of(
    const ks_stacks *stacks, int group, ks_group_figures *figures, ks_error *error);
// Allocates a stack as ks_stack_allocate does, charged to a group.
KS_CHECKED void *ks_stack_allocate_for_group(const ks_stacks *stacks, int node, int group, ks_error *error);

// MARK: Freed stacks. All return the number of frames that went back.

// Gives back frames of freed stacks, until they are `frames`; asks the other CPUs if that is not enough.
size_t ks_stacks_reclaim(const ks_stacks *stacks, size_t frames);
// Gives back this CPU's freed stacks if another CPU has asked; called from timer ticks.
size_t ks_stacks_serve_reclaim(const ks_stacks *stacks);
// Ages the demand for freed stacks, and unmaps some above it; called about once a second, on one CPU.
size_t ks_stacks_age(const ks_stacks *stacks);
// Gives back the freed stacks and the reserve of a CPU that has stopped.
size_t ks_stacks_drain_cpu(const ks_stacks *stacks, uint32_t cpu);

// MARK: Figures and listings

typedef struct ks_stack_figures {
  uint64_t live, cached, retired;   // stacks: in use; freed and mapped; unmapped, their frames not back yet
  uint64_t used_slots, capacity;    // 0 for KS_LINEAR
  uint64_t made, unmapped;          // stacks made of new frames; stacks unmapped because no cache kept them
  uint64_t lost;                    // stacks taken out of use by ks_stack_quarantine
  uint64_t reserved_frames;         // in the CPUs' reserves and the pool behind them
  uint64_t grown_pages;
  uint64_t record_bytes;
} ks_stack_figures;
ks_stack_figures ks_stacks_figures(const ks_stacks *stacks);
// The memory of a node that stacks in use take, in KiB; with KS_ANY_NODE that of all nodes.
uint64_t ks_stacks_kib(const ks_stacks *stacks, int node);

// Writes text, character by character.
typedef void (*ks_put)(void *context, char character);
void ks_write_buddyinfo(ks_put put, void *context);                        // free blocks, as in /proc/buddyinfo
void ks_write_vmallocinfo(ks_put put, void *context);                      // areas, as in /proc/vmallocinfo
void ks_write_stacks(const ks_stacks *stacks, ks_put put, void *context);  // a line about the stacks

#ifdef __cplusplus
}
#endif
#endif
