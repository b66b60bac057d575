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

  .balign 2048
vectors:
  .rept 16
  b board_exception
  .balign 128
  .endr

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
