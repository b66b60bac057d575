// KernelStacks for kernels in C: thread stacks, page frames and the vmalloc area of an arm64 kernel.
//
// What is about frames, errors and addresses is in kernel_stacks_memory.h, which this file includes; the stacks are here.
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

#include "kernel_stacks_memory.h"

#ifdef __cplusplus
extern "C" {
#endif

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
#define KS_RECLAIM_STACK 736   // ks_stack_allocate_for_group, ks_stack_free_when_left, ks_stack_lend, ks_reclaim
#define KS_FAULT_STACK 128     // ks_stack_fault, ks_stacks_take_back, ks_stack_classify, ks_stack_classify_address

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
  uint32_t capacity;                // the greatest number of stacks; 0: as many as memory holds, or if a kernel does not count its
                                    // frames, as `records` have room for
  uint32_t cached_per_cpu;          // freed stacks that a CPU keeps: 0 to 64
  uint32_t depot;                   // freed stacks that CPUs share: 0 to 4,096
  uint32_t retirement_batch;        // unmapped stacks that one TLB invalidation serves: 1 to 256
  uint32_t groups;                  // groups with a limit: 0 to 1,024; 0 for KS_LINEAR
  void *records;                    // memory for the records, mapped on all CPUs, from a multiple of 64 on; it stays until
  size_t records_size;              // ks_stacks_end. Null: the library takes frames of its own; refused with KS_BAD_ARGUMENT where
                                    // frames are the kernel's
} ks_stack_configuration;

// 16 KiB, the smallest guard, 8 stacks cached by each CPU, 256 by all, 64 for an invalidation, no groups.
ks_stack_configuration ks_stack_defaults(ks_strategy strategy);

// An allocator of stacks; zero until it is made. All copies are the same allocator.
typedef struct ks_stacks {
  void *opaque;
} ks_stacks;

// The bytes that the records of such an allocator take; 0: the configuration is refused. Where only they bound the number of stacks,
// the most that an allocator can use.
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
