// The data that assembly and Swift share: register frames, the task record, and system register values at boot.
#ifndef KERNEL_FRAME_LAYOUT_H
#define KERNEL_FRAME_LAYOUT_H

// The most CPUs: sets of CPUs are words of 64 bits.
#define MAXIMUM_CPUS        64

// A register frame, at the start of a task record or at the top of a thread's stack:
//
//   0x000  x0 … x30
//   0x0f8  SP_EL0
//   0x100  ELR_EL1
//   0x108  SPSR_EL1
//   0x110  (end)
#define FRAME_X(n)          ((n) * 8)
#define FRAME_SP            0x0f8
#define FRAME_ELR           0x100
#define FRAME_SPSR          0x108
#define FRAME_SIZE          0x110

// A task record begins with:
//
//   0x000  frame           registers to resume with when the task is switched in
//   0x110  stack top       the initial kernel stack pointer
//   0x118  TTBR0           root of the user half
//   0x120  stack base      the lowest address of the kernel stack: the beginning of the scheduler's part
#define TASK_STACK_TOP      0x110
#define TASK_STACK_BASE     0x120

// The values that a CPU started by firmware reads, before and after its MMU is on:
//
//   0x00  TTBR0     the page of boot.S at its physical address
//   0x08  TTBR1     0x10  TCR     0x18  MAIR     0x20  SCTLR
//   0x28  TTBR0     for good: an empty table
//   0x30  number of the CPU
//   0x38  task record of its idle thread
//   0x40  top of its exception stack
#define START_TRANSLATION   0x00
#define START_CONTROL       0x10
#define START_SCTLR         0x20
#define START_EMPTY_ROOT    0x28
#define START_NUMBER        0x30
#define START_TASK          0x38
#define START_SIZE          0x48

#ifndef __ASSEMBLER__
#include <stdint.h>

struct kernel_cpu_start {
  uint64_t identity_ttbr0, ttbr1;
  uint64_t tcr, mair;
  uint64_t sctlr, empty_ttbr0;
  uint64_t number, task;
  uint64_t exception_stack_top;
};

// The registers of interrupted code.
struct kernel_frame {
  uint64_t x[31];
  uint64_t sp;
  uint64_t elr;
  uint64_t spsr;
};

// The part of a task record that assembly knows.
struct kernel_task_head {
  struct kernel_frame frame;
  uint64_t stack_top;
  uint64_t ttbr0;
};

_Static_assert(sizeof(struct kernel_frame) == FRAME_SIZE, "assembly relies on the size");
_Static_assert(__builtin_offsetof(struct kernel_task_head, stack_top) == TASK_STACK_TOP, "assembly relies on it");
_Static_assert(sizeof(struct kernel_cpu_start) == START_SIZE, "assembly relies on the size");
_Static_assert(__builtin_offsetof(struct kernel_cpu_start, task) == START_TASK, "assembly relies on it");
_Static_assert(sizeof(struct kernel_task_head) == TASK_STACK_BASE, "what follows begins with the stack base");
#endif

// MAIR_EL1: attribute 0 is normal write-back memory, attribute 1 is device-nGnRE.
#define EARLY_MAIR          0x04ff

// TCR_EL1: 48 bits in the lower half, 39 in the upper, 4 KiB granule, write-back inner-shareable walks. IPS and AS are the
// CPU's.
//   T0SZ [5:0] IRGN0 [9:8] ORGN0 [11:10] SH0 [13:12] TG0 [15:14] T1SZ [21:16] IRGN1 [25:24] ORGN1 [27:26] SH1 [29:28]
//   TG1 [31:30] IPS [34:32] AS [36]
#define EARLY_TCR           0xb5193510
#define TCR_LONG_ASIDS      (1 << 36)           // AS: ASIDs of 16 bits, not 8

// SCTLR_EL1: M C SA SA0 I and the bits that read as one; WXN follows with the final tables.
#define EARLY_SCTLR         0x30d0181d

// CNTKCTL_EL1: an event at each rise of bit 15 of the counter (EVNTEN [2], EVNTI [7:4]), so that no WFE waits longer than 65
// microseconds (at 1 GHz) to 65 milliseconds (at 1 MHz). EL0's accesses to counters and timers are off.
#define EVENT_STREAM        0xf4

#endif
