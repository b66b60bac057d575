// From the boot loader to Swift: image header, exception level 1, early translation tables, MMU on.
//
// The boot protocol is that of arm64 Linux: MMU off, x0 = physical address of the device tree. Until the jump into the
// upper half, all code here is position independent and runs at its physical address. It lies in one page, the only one
// that the identity map has: nothing is mapped at boot that does not belong to the image, since a CPU may speculate into
// whatever is mapped as normal memory.
#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

#include "frame_layout.h"

#define KERNEL_HALF         0xffffff8000000000
#define NORMAL_PAGE         0x703               // AF, inner shareable, MAIR attribute 0, page
#define NORMAL_BLOCK        0x701               // the same, block
#define IDENTITY_PAGE       0x783               // the same as a page, read-only: SCTLR_EL1.WXN lets it be executed
#define EL0_NEVER_EXECUTES  (1 << 54)
#define TABLE               0x3

#define HCR_RW              (1 << 31)           // EL1 is AArch64
#define HCR_E2H             (1 << 34)           // registers of EL2 have the format of EL1's (FEAT_VHE)

// Registers that assemblers know by name only for newer architectures.
#define id_aa64mmfr4_el1    S3_0_C0_C7_4
#define sctlr_el12          S3_5_C1_C0_0
#define hcrx_el2            S3_4_C1_C2_2
#define icc_sre_el2         S3_4_C12_C9_5
#define ich_hcr_el2         S3_4_C12_C11_0
#define hfgrtr_el2          S3_4_C1_C1_4
#define hfgwtr_el2          S3_4_C1_C1_5
#define hfgitr_el2          S3_4_C1_C1_6
#define hdfgrtr_el2         S3_4_C3_C1_4
#define hdfgwtr_el2         S3_4_C3_C1_5

  // Goes to `absent` unless the CPU has the performance monitors of PMUv3 (ID_AA64DFR0_EL1.PMUVer: 0 none, 15 others).
  .macro  skip_without_counters scratch, absent
  mrs     \scratch, id_aa64dfr0_el1
  ubfx    \scratch, \scratch, #8, #4
  sub     \scratch, \scratch, #1
  cmp     \scratch, #14
  b.hs    \absent
  .endm

  // At EL2, hands EL1 what it needs and goes on at EL1, at `next`; at EL1, falls through. Uses x0 to x2.
  //
  // Some CPUs have EL2 in the format of FEAT_VHE only: they say so by ID_AA64MMFR4_EL1.E2H0 < 0, or keep HCR_EL2.E2H set.
  .macro  leave_el2 next
  mrs     x0, CurrentEL
  cmp     x0, #(2 << 2)
  b.ne    \next
  mov     x0, #HCR_RW
  mrs     x1, id_aa64mmfr4_el1
  tbz     x1, #27, 10f
  orr     x0, x0, #HCR_E2H
10:
  msr     hcr_el2, x0
  isb                                           // E2H decides what the accesses below mean
  ldr     x1, =0x30d00800                       // SCTLR_EL1: MMU off, and the bits that read as one
  mrs     x0, hcr_el2
  tbnz    x0, #34, 11f
  msr     sctlr_el1, x1
  mov     x0, #0x33ff                           // CPTR_EL2: nothing of EL1 is trapped but SVE and SME
  mov     x1, #3                                // CNTHCTL_EL2: EL1 may use the physical counter and timer
  b       12f
11:
  msr     sctlr_el12, x1
  mov     x0, #(3 << 20)                        // the same two in the other format
  mov     x1, #(3 << 10)
12:
  msr     cptr_el2, x0
  msr     cnthctl_el2, x1
  msr     cntvoff_el2, xzr
  msr     vttbr_el2, xzr                        // translations are tagged with its VMID although stage 2 is off
  mrs     x0, midr_el1                          // EL1 sees the CPU as it is
  msr     vpidr_el2, x0
  mrs     x0, mpidr_el1
  msr     vmpidr_el2, x0
  mov     x1, xzr
  skip_without_counters x0, 13f
  mrs     x1, pmcr_el0
  ubfx    x1, x1, #11, #5
13:
  msr     mdcr_el2, x1                          // all event counters belong to EL1
  mrs     x0, id_aa64mmfr0_el1                  // no fine-grained traps (FEAT_FGT)
  ubfx    x0, x0, #56, #4
  cbz     x0, 14f
  msr     hfgrtr_el2, xzr
  msr     hfgwtr_el2, xzr
  msr     hfgitr_el2, xzr
  msr     hdfgrtr_el2, xzr
  msr     hdfgwtr_el2, xzr
14:
  mrs     x0, id_aa64mmfr1_el1                  // and none of FEAT_HCX
  ubfx    x0, x0, #40, #4
  cbz     x0, 15f
  msr     hcrx_el2, xzr
15:
  mrs     x0, id_aa64pfr0_el1                   // EL1 may use the system registers of a GICv3
  ubfx    x0, x0, #24, #4
  cbz     x0, 16f
  mov     x0, #9                                // ICC_SRE_EL2: SRE, Enable
  msr     icc_sre_el2, x0
  isb
  mrs     x0, icc_sre_el2                       // the controller may be of an older kind
  tbz     x0, #0, 16f
  msr     ich_hcr_el2, xzr                      // no virtual interrupts
16:
  mov     x0, #0x3c5                            // EL1h, everything masked
  msr     spsr_el2, x0
  adr     x0, \next
  msr     elr_el2, x0
  eret
  .endm

  // What is the same on all CPUs and has nothing to do with memory. The CPU's number, task and stacks are there: from here
  // on, exceptions are taken.
  .macro  set_control_registers
  msr     cpacr_el1, xzr                        // no floating point anywhere
  mov     x0, #(1 << 12)                        // MDSCR_EL1.TDCC: no debug channel for EL0
  msr     mdscr_el1, x0
  mrs     x0, id_aa64pfr0_el1
  ubfx    x0, x0, #44, #4                       // AMU
  cbz     x0, 9f
  msr     S3_3_C13_C2_3, xzr                    // AMUSERENR_EL0: no activity monitors for EL0
9:
  mov     x0, #EVENT_STREAM                     // no counter, no timer for EL0
  msr     cntkctl_el1, x0
  skip_without_counters x0, 20f
  msr     pmuserenr_el0, xzr                    // no counters for EL0
20:
  ldr     x0, =vectors
  msr     vbar_el1, x0
  isb
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
  mrs     x0, id_aa64mmfr0_el1
  tbz     x0, #31, clear_bss                    // TGran4 < 0: no 4 KiB pages, and nothing here can go on

  //  +0x00 ADP_Stopped_ApplicationExit, +0x08 exit code 1
  adr     x1, no_granule
  mov     x0, #0x18                             // semihosting: SYS_EXIT
  hlt     #0xf000
1:
  wfi
  b       1b
  .p2align 3
no_granule:
  .quad   0x20026, 1

  // Clear bss and the early tables. The stores go past the caches, so lines of what was there before, which a boot loader
  // cleans only as far as the file reaches, go first: they would hide the zeroes later on, or overwrite them.
clear_bss:
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

  // Eight tables:   +0x0000  TTBR0, levels 0 to 3: this page at its physical address, wherever that is below 2^48
  //                 +0x4000  TTBR1, level 1: [0] -> level 2; the rest is filled in by EarlyAddressSpace
  //                 +0x5000  TTBR1, level 2: the image by 2 MiB blocks, or tables where it fills a part of one
  //                 +0x6000  TTBR1, level 3, for the first 2 MiB and for the last
  adrp    x20, early_tables
  adrp    x21, image_header
  mov     x4, #NORMAL_PAGE
  mov     x5, #EL0_NEVER_EXECUTES
  mov     x6, #IDENTITY_PAGE
  orr     x4, x4, x5
  orr     x6, x6, x5

  mov     x0, x20
  mov     x1, #39                               // an entry of level 0 spans 2^39 bytes
1:
  add     x2, x0, #0x1000
  orr     x3, x2, #TABLE
  lsr     x7, x21, x1
  and     x7, x7, #511
  str     x3, [x0, x7, lsl #3]
  mov     x0, x2
  sub     x1, x1, #9
  cmp     x1, #12
  b.ne    1b
  orr     x3, x6, x21
  lsr     x7, x21, #12
  and     x7, x7, #511
  str     x3, [x0, x7, lsl #3]

  add     x8, x20, #0x4000                      // level 1
  add     x9, x20, #0x5000                      // the entry of level 2
  add     x10, x20, #0x6000                     // the next table of level 3
  orr     x0, x9, #TABLE
  str     x0, [x8]
  adrp    x1, image_end
  mov     x0, x21
  sub     x21, x21, #0x80, lsl #12              // physical address of KERNEL_HALF, a multiple of 2 MiB
2:
  and     x3, x0, #0x1fffff
  sub     x7, x1, x0
  lsr     x7, x7, #21
  cbz     x7, 3f                                // less than 2 MiB are left
  cbnz    x3, 3f                                // the first part does not begin on a boundary
  orr     x3, x0, x4
  bic     x3, x3, #(NORMAL_PAGE & ~NORMAL_BLOCK)
  str     x3, [x9], #8
  add     x0, x0, #0x200, lsl #12
  b       5f
3:
  orr     x7, x10, #TABLE
  str     x7, [x9], #8
4:
  ubfx    x3, x0, #12, #9
  orr     x7, x0, x4
  str     x7, [x10, x3, lsl #3]
  add     x0, x0, #0x1000
  cmp     x0, x1
  b.hs    5f
  tst     x0, #0x1fffff
  b.ne    4b
  add     x10, x10, #0x1000
5:
  cmp     x0, x1
  b.lo    2b

  ldr     x0, =EARLY_MAIR
  msr     mair_el1, x0
  ldr     x0, =EARLY_TCR
  mrs     x1, id_aa64mmfr0_el1
  and     x2, x1, #15                           // PARange; more than 48 bits would need other tables
  mov     x3, #5
  cmp     x2, x3
  csel    x2, x2, x3, lo
  bfi     x0, x2, #32, #3                       // IPS
  ubfx    x2, x1, #4, #4                        // ASIDBits
  cmp     x2, #2
  b.ne    6f
  orr     x0, x0, #TCR_LONG_ASIDS
6:
  msr     tcr_el1, x0
  msr     ttbr0_el1, x20
  msr     ttbr1_el1, x8
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

upper_half:
  ldr     x0, =boot_task
  msr     tpidr_el1, x0
  msr     tpidrro_el0, xzr                      // this CPU's number

  // Exceptions use the emergency stack until the exception stack exists; boot code is thread code.
  ldr     x0, =emergency_stack_top
  mov     sp, x0
  msr     SPSel, #0
  ldr     x0, =boot_stack_top
  mov     sp, x0
  set_control_registers

  mov     x0, x19                               // physical address of the device tree
  mov     x1, x21                               // physical address that KERNEL_HALF is mapped to
  mov     x29, xzr
  mov     x30, xzr
  bl      kernelBoot
1:
  wfi
  b       1b

// Where a spin table starts all other CPUs: MMU off, registers unknown. The CPU's entry in `spin_list` was cleaned to memory before.
  .global secondary_spin_start
secondary_spin_start:
  mrs     x2, mpidr_el1
  ubfx    x3, x2, #32, #8                       // Aff3
  ubfx    x2, x2, #0, #24                       // Aff2 to Aff0
  orr     x2, x2, x3, lsl #32
  adrp    x1, spin_list + 16
  add     x1, x1, :lo12:spin_list + 16          // the first is that of the boot CPU, which has none
1:
  ldp     x3, x0, [x1], #16
  cmp     x3, x2
  b.ne    1b
  b       secondary_start

// Where a CPU of a spin table that is not wanted sleeps for good: in the table's own loop it would take turns of an emulator.
  .global secondary_rest
secondary_rest:
  msr     daifset, #15
1:
  wfi
  b       1b

// Where firmware starts all other CPUs: MMU off, x0 = physical address of a struct kernel_cpu_start, which was cleaned
// to memory. The kernel's own tables are in use from the first moment; TTBR0 has this page at its physical address for the
// few instructions up to the jump.
  .global secondary_start
secondary_start:
  mov     x19, x0
  leave_el2 at_el1_again
at_el1_again:
  msr     daifset, #15
  msr     SPSel, #1
  ldp     x0, x1, [x19, #START_TRANSLATION]
  ldp     x2, x3, [x19, #START_CONTROL]
  ldp     x4, x20, [x19, #START_SCTLR]          // the second: the empty root
  ldp     x21, x22, [x19, #START_NUMBER]        // number, task
  ldr     x23, [x19, #(START_TASK + 8)]         // exception stack
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
  msr     ttbr0_el1, x20
  isb
  tlbi    vmalle1
  dsb     nsh
  isb
  msr     tpidrro_el0, x21
  msr     tpidr_el1, x22
  mov     sp, x23
  msr     SPSel, #0
  ldr     x0, [x22, #TASK_STACK_TOP]
  mov     sp, x0
  set_control_registers
  mov     x29, xzr
  mov     x30, xzr
  bl      kernelStartSecondary                  // doesn't return
1:
  wfi
  b       1b

// void switch_kernel_tables(uint64_t ttbr1, uint64_t tcr, uint64_t image_physical_base, uint64_t empty_root)
//
// The size of the upper half and its root table change together, so the code runs at its physical address meanwhile,
// under the identity map in TTBR0. Interrupts are masked.
//
// Break before make (Arm ARM D8.16.1): with an empty root nothing is translated, and after the invalidation nothing of the
// old tables is cached; only then come the new ones.
  .global switch_kernel_tables
switch_kernel_tables:
  adr     x5, 1f
  adr     x4, 2f
  ldr     x6, =KERNEL_HALF
  sub     x5, x5, x6
  add     x5, x5, x2
  br      x5
1:
  msr     ttbr1_el1, x3
  isb
  tlbi    vmalle1
  dsb     nsh
  isb
  msr     tcr_el1, x1
  isb
  msr     ttbr1_el1, x0
  isb
  br      x4
2:
  ret

  .ltorg
  .global head_end
head_end:
#endif
