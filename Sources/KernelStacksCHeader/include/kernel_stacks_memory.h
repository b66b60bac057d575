// The first half of kernel_stacks.h, which includes it: what the kernel supplies, errors, page frames, the vmalloc area and mappings.
#ifndef KERNEL_STACKS_MEMORY_H
#define KERNEL_STACKS_MEMORY_H

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
// run that thread; and with `tracks_dirty_pages` on one that has made a thread, before others may run it. The library waits for
// TLB invalidations with interrupts on if they were on, and a CPU's barrier waits only for what that CPU began. Also, no lock
// orders what CPUs write into page-table entries by themselves.

// The number of the current CPU, from 0 and below `ks_configuration.cpu_count`. The kernel must define it; the result
// matters only while interrupts are off.
uint32_t ks_machine_cpu(void);

// The library has weak definitions of these, which are used unless the kernel has its own.
uint32_t ks_machine_node(void);                        // the current CPU's node: 0
uintptr_t ks_machine_disable_interrupts(void);         // masks IRQ and FIQ; gives the state to restore
void ks_machine_restore_interrupts(uintptr_t state);   // DAIF as it was
uintptr_t ks_machine_lock(uint64_t *lock);             // disables interrupts, then takes a spin lock; 0 is unlocked
void ks_machine_unlock(uint64_t *lock, uintptr_t state);

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

// A CPU's record, for kernels with many CPUs whose frames are their own; all 0.
typedef struct ks_cpu_record {
  void *opaque[2];
} ks_cpu_record;
#define KS_BUILT_IN_CPU_RECORDS 8

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
  ks_cpu_record *cpu_records;       // for ks_init_with_frames and ks_init_with_addresses: one for each CPU, which stay. Null: the
                                    // library's own, of which there are KS_BUILT_IN_CPU_RECORDS
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
// (ks_frames_..., ks_add_memory, ks_remove_memory, ks_zero_one_frame) and KS_LINEAR are refused then, with KS_NOT_OWNED where there
// is a code; without the vmalloc area also ks_vmalloc, ks_vfree, ks_map and ks_unmap, and ks_physical_address gives 0.
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
  // How many frames there are, free or not, from which a `capacity` of 0 follows. May be null: such an allocator has as many stacks
  // as its `records` have room for.
  uint64_t (*total)(void *context);
  uint64_t (*free_count)(void *context);             // how many are free, for texts of refusals; may be null
  uint32_t node_count;                               // 1 to 64
  bool leaves_clearing;                              // `cleared` is always false: the library clears frames itself
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
  // returns their number. Their frames stay mapped, and writable, in the linear map: a mistaken free of a stack may look there late.
  // May be null: tables stay.
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
// allocator calls it when it runs short, without its locks, for the frames come by `free`. Stacks that other CPUs keep come back when
// these call ks_stacks_serve_reclaim, and are not counted; with `cached_per_cpu` 0 there are none.
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

#ifdef __cplusplus
}
#endif
#endif
