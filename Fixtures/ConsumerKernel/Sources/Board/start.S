// Turns the MMU on with two static tables, then runs kernel_main. QEMU's `virt` board starts the CPU at EL1.
#if defined(__aarch64__)

  .section .text.start, "ax"
  .globl start
start:
  adrp x0, boot_stack_top
  mov sp, x0
  adrp x0, vectors
  add x0, x0, :lo12:vectors
  msr vbar_el1, x0

  mov x0, #0x04ff                   // MAIR: 0 = normal write-back, 1 = device-nGnRE
  msr mair_el1, x0
  ldr x0, =0x2b5193519              // TCR: 39-bit halves, 4 KiB granules, inner shareable, write-back, 40-bit addresses
  msr tcr_el1, x0
  adrp x0, low_table
  msr ttbr0_el1, x0
  adrp x0, kernel_table
  msr ttbr1_el1, x0
  tlbi vmalle1
  dsb ish
  isb
  mrs x0, sctlr_el1
  mov x1, #0x1005                   // instruction cache, data cache, MMU
  orr x0, x0, x1
  msr sctlr_el1, x0
  isb
  bl kernel_main
1:
  wfi
  b 1b

// Runs a function, x1, at EL1t on a stack whose top is x0. The boot stack is the exception stack meanwhile.
  .globl board_run_on
board_run_on:
  stp x29, x30, [sp, #-16]!
  msr sp_el0, x0
  msr spsel, #0
  blr x1
  msr spsel, #1
  ldp x29, x30, [sp], #16
  ret

  .balign 2048
vectors:
  b thread_fault                    // EL1t, synchronous
  .balign 128
  .rept 15
  b board_exception
  .balign 128
  .endr

thread_fault:                       // saves what a function may change
  stp x0, x1, [sp, #-0xa0]!
  stp x2, x3, [sp, #0x10]
  stp x4, x5, [sp, #0x20]
  stp x6, x7, [sp, #0x30]
  stp x8, x9, [sp, #0x40]
  stp x10, x11, [sp, #0x50]
  stp x12, x13, [sp, #0x60]
  stp x14, x15, [sp, #0x70]
  stp x16, x17, [sp, #0x80]
  stp x18, x30, [sp, #0x90]
  mrs x0, far_el1
  mrs x1, esr_el1
  bl kernel_fault
  ldp x2, x3, [sp, #0x10]
  ldp x4, x5, [sp, #0x20]
  ldp x6, x7, [sp, #0x30]
  ldp x8, x9, [sp, #0x40]
  ldp x10, x11, [sp, #0x50]
  ldp x12, x13, [sp, #0x60]
  ldp x14, x15, [sp, #0x70]
  ldp x16, x17, [sp, #0x80]
  ldp x18, x30, [sp, #0x90]
  ldp x0, x1, [sp], #0xa0
  eret

  // Level-1 tables; each entry maps 1 GiB.
  .section .data.tables, "aw"
  .balign 4096
low_table:                          // one to one
  .quad 0x0060000000000405          // devices, never executed
  .quad 0x0000000040000701          // RAM
  .fill 510, 8, 0
  .globl kernel_table
kernel_table:                       // the linear map of RAM at 0xffffffc040000000
  .fill 257, 8, 0
  .quad 0x0060000040000701
  .fill 254, 8, 0

#endif
