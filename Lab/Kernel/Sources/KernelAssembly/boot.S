// From the boot loader to Swift: image header, exception level 1, early translation tables, MMU on.
//
// The boot protocol is that of arm64 Linux: MMU off, x0 = physical address of the device tree. Until the jump into the
// upper half, all code here is position independent and runs at its physical address.
#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

#include "frame_layout.h"

#define KERNEL_HALF         0xffffff8000000000
#define LINEAR_MAP_INDEX    256                 // level-1 index of 0xffffffc000000000
#define NORMAL_BLOCK        0x701               // AF, inner shareable, MAIR attribute 0, block
#define TABLE               0x3
#define NEVER_EXECUTE       (3 << 53)

  // At EL2, hands EL1 what it needs and goes on at EL1, at `next`; at EL1, falls through.
  .macro  leave_el2 next
  mrs     x0, CurrentEL
  cmp     x0, #(2 << 2)
  b.ne    \next
  mov     x0, #(1 << 31)                        // HCR_EL2.RW: EL1 is AArch64
  msr     hcr_el2, x0
  mov     x0, #3                                // CNTHCTL_EL2: EL1 may use the physical counter and timer
  msr     cnthctl_el2, x0
  msr     cntvoff_el2, xzr
  mrs     x0, midr_el1                          // EL1 sees the CPU as it is
  msr     vpidr_el2, x0
  mrs     x0, mpidr_el1
  msr     vmpidr_el2, x0
  mrs     x0, pmcr_el0
  ubfx    x0, x0, #11, #5
  msr     mdcr_el2, x0                          // all event counters belong to EL1
  mov     x0, #0x33ff
  msr     cptr_el2, x0
  ldr     x0, =0x30d00800
  msr     sctlr_el1, x0
  mov     x0, #0x3c5                            // EL1h, everything masked
  msr     spsr_el2, x0
  adr     x0, \next
  msr     elr_el2, x0
  eret
  .endm

  // What is the same on all CPUs and has nothing to do with memory.
  .macro  set_control_registers
  ldr     x0, =vectors
  msr     vbar_el1, x0
  msr     cpacr_el1, xzr                        // no floating point anywhere
  mov     x0, #(1 << 12)                        // MDSCR_EL1.TDCC: no debug channel for EL0
  msr     mdscr_el1, x0
  mrs     x0, id_aa64pfr0_el1
  ubfx    x0, x0, #44, #4                       // AMU
  cbz     x0, 9f
  msr     S3_3_C13_C2_3, xzr                    // AMUSERENR_EL0: no activity monitors for EL0
9:
  msr     pmuserenr_el0, xzr                    // no counters for EL0
  mov     x0, #EVENT_STREAM                     // no counter, no timer for EL0
  msr     cntkctl_el1, x0
  .endm

  .section .head.text, "ax", %progbits
  .global image_header
image_header:
  b       start                                 // code0
  .long   0                                     // code1
  .quad   0x80000                               // text_offset: distance from a 2 MiB boundary
  .quad   image_size                            // including bss
  .quad   0xa                                   // little endian, 4 KiB pages, anywhere in physical memory
  .quad   0, 0, 0
  .ascii  "ARM\x64"
  .long   0

start:
  mov     x19, x0                               // device tree
  leave_el2 at_el1

at_el1:
  msr     daifset, #15
  msr     SPSel, #1

  // Clear bss and the early tables. The stores go past the caches, so lines of what was there before, which a boot loader
  // cleans only as far as the file reaches, go first: they would hide the zeroes later on, or overwrite them.
  adrp    x1, image_end
  add     x1, x1, :lo12:image_end
  mrs     x2, ctr_el0
  ubfx    x2, x2, #16, #4                       // DminLine: log2 of the words in the smallest line
  mov     x3, #4
  lsl     x2, x3, x2
  sub     x3, x2, #1
  adrp    x0, loaded_end
  add     x0, x0, :lo12:loaded_end
  bic     x0, x0, x3
1:
  dc      civac, x0
  add     x0, x0, x2
  cmp     x0, x1
  b.lo    1b
  dsb     sy
  adrp    x0, loaded_end
  add     x0, x0, :lo12:loaded_end
1:
  stp     xzr, xzr, [x0], #16
  cmp     x0, x1
  b.lo    1b

  // Three tables:   +0x0000  TTBR0, level 1: the image's GiB at its physical address
  //                 +0x1000  TTBR1, level 1: [0] -> level 2, [256 + n] = GiB n of physical memory
  //                 +0x2000  TTBR1, level 2: the image by 2 MiB blocks
  adrp    x20, early_tables
  adrp    x21, image_header
  sub     x21, x21, #0x80, lsl #12              // physical address of KERNEL_HALF
  mov     x4, #NORMAL_BLOCK
  ldr     x5, =NEVER_EXECUTE

  lsr     x0, x21, #30                          // the image's GiB
  orr     x1, x4, x0, lsl #30
  str     x1, [x20, x0, lsl #3]
  orr     x1, x1, x5
  add     x2, x20, #0x1000
  add     x3, x2, #(LINEAR_MAP_INDEX * 8)
  str     x1, [x3, x0, lsl #3]

  lsr     x0, x19, #30                          // the device tree's GiB
  orr     x1, x4, x0, lsl #30
  orr     x1, x1, x5
  str     x1, [x3, x0, lsl #3]

  add     x3, x20, #0x2000
  orr     x1, x3, #TABLE
  str     x1, [x2]
  orr     x1, x4, x21
  mov     x0, #64                               // 128 MiB, the whole image region
2:
  str     x1, [x3], #8
  add     x1, x1, #0x200, lsl #12
  subs    x0, x0, #1
  b.ne    2b

  ldr     x0, =EARLY_MAIR
  msr     mair_el1, x0
  ldr     x0, =EARLY_TCR
  mrs     x1, id_aa64mmfr0_el1
  and     x1, x1, #7                            // PARange
  bfi     x0, x1, #32, #3                       // IPS
  msr     tcr_el1, x0
  msr     ttbr0_el1, x20
  msr     ttbr1_el1, x2
  dsb     sy
  tlbi    vmalle1
  dsb     sy
  ic      iallu
  dsb     sy
  isb
  ldr     x0, =EARLY_SCTLR
  msr     sctlr_el1, x0
  isb

  ldr     x0, =upper_half
  br      x0

  .text
upper_half:
  set_control_registers
  ldr     x0, =boot_task
  msr     tpidr_el1, x0
  msr     tpidrro_el0, xzr                      // this CPU's number

  // Exceptions use the emergency stack until the exception stack exists; boot code is thread code.
  ldr     x0, =emergency_stack_top
  mov     sp, x0
  msr     SPSel, #0
  ldr     x0, =boot_stack_top
  mov     sp, x0
  isb

  mov     x0, x19                               // physical address of the device tree
  mov     x1, x21                               // physical address that KERNEL_HALF is mapped to
  mov     x29, xzr
  mov     x30, xzr
  bl      kernelBoot
1:
  wfi
  b       1b

// Where firmware starts all other CPUs: MMU off, x0 = physical address of a struct kernel_cpu_start, which was cleaned
// to memory. The kernel's own tables are in use from the first moment; TTBR0 has the image's GiB, read-only, for the
// few instructions up to the jump.
  .global secondary_start
secondary_start:
  mov     x19, x0
  leave_el2 1f
1:
  msr     daifset, #15
  msr     SPSel, #1
  ldp     x0, x1, [x19, #START_TRANSLATION]
  ldp     x2, x3, [x19, #START_CONTROL]
  ldr     x4, [x19, #START_SCTLR]
  msr     ttbr0_el1, x0
  msr     ttbr1_el1, x1
  msr     tcr_el1, x2
  msr     mair_el1, x3
  isb
  tlbi    vmalle1
  dsb     nsh
  ic      iallu
  dsb     nsh
  isb
  msr     sctlr_el1, x4
  isb
  ldr     x0, =secondary_upper_half
  br      x0

secondary_upper_half:
  ldr     x20, [x19, #START_EMPTY_ROOT]         // TTBR0 still has the record's address
  ldp     x21, x22, [x19, #START_NUMBER]        // number, task
  ldr     x23, [x19, #(START_TASK + 8)]         // exception stack
  msr     ttbr0_el1, x20
  isb
  tlbi    vmalle1
  dsb     nsh
  isb
  set_control_registers
  msr     tpidrro_el0, x21
  msr     tpidr_el1, x22
  mov     sp, x23
  msr     SPSel, #0
  ldr     x0, [x22, #TASK_STACK_TOP]
  mov     sp, x0
  isb
  mov     x29, xzr
  mov     x30, xzr
  bl      kernelStartSecondary                  // doesn't return
1:
  wfi
  b       1b

// void switch_kernel_tables(uint64_t ttbr1, uint64_t tcr, uint64_t image_physical_base)
//
// The size of the upper half and its root table change together, so the code runs at its physical address meanwhile,
// under the identity map in TTBR0. Interrupts are masked.
  .global switch_kernel_tables
switch_kernel_tables:
  adrp    x3, 1f
  add     x3, x3, :lo12:1f
  adrp    x4, 2f
  add     x4, x4, :lo12:2f
  ldr     x5, =KERNEL_HALF
  sub     x3, x3, x5
  add     x3, x3, x2
  br      x3
1:
  msr     tcr_el1, x1
  isb
  msr     ttbr1_el1, x0
  isb
  tlbi    vmalle1
  dsb     nsh
  isb
  br      x4
2:
  ret

  .ltorg
#endif
