// Boot of the first CPU and of the others, the vectors, tables for ADDRESS_BITS 39 or 48, and the switch between the scheduler and a thread.
//
// The scheduler of each CPU runs at EL1h, on the CPU's boot stack (SP_EL1). Threads run at EL1t, on their own (SP_EL0): so a
// thread whose stack has to grow takes its fault on the boot stack, which is mapped whole.

// TCR: 4 KiB granules, inner shareable, write-back, 40-bit physical addresses; the low half has 39 bits.
#if ADDRESS_BITS == 48
#define TCR 0x2b5103519
#else
#define TCR 0x2b5193519
#endif

// MAIR, and the indices of its attributes: kernels differ in them.
#if ADDRESS_BITS == 48
#define MAIR 0xff4404               // 0 = device-nGnRE, 1 = normal non-cacheable, 2 = normal write-back
#define DEVICE 0
#define NORMAL 2
#else
#define MAIR 0x04ff                 // 0 = normal write-back, 1 = device-nGnRE
#define DEVICE 1
#define NORMAL 0
#endif

  .section .text.start, "ax"
  .globl start, start_other
start:
  mov x20, #0
  b 1f
start_other:                        // x0: the CPU's number
  mov x20, x0
1:
  adrp x0, boot_stacks
  add x1, x20, #1
  add x0, x0, x1, lsl #14
  mov sp, x0
  msr tpidr_el1, x20
  adrp x0, vectors
  add x0, x0, :lo12:vectors
  msr vbar_el1, x0

  ldr x0, =MAIR
  msr mair_el1, x0
  ldr x0, =TCR
  mrs x1, id_aa64mmfr1_el1          // HAFDBS = 2: the CPU can keep dirty state
  and x1, x1, #15
  cmp x1, #2
  b.lo 4f
  orr x0, x0, #0x18000000000        // HA, HD
4:
  msr tcr_el1, x0
  adrp x0, low_table
  msr ttbr0_el1, x0
  adrp x0, kernel_table
  msr ttbr1_el1, x0
  tlbi vmalle1
  dsb nsh
  isb
  mrs x0, sctlr_el1
  mov x1, #0x1005                   // instruction cache, data cache, MMU
  orr x0, x0, x1
  msr sctlr_el1, x0
  isb
  cbnz x20, 2f
  bl kernel_main
2:
  mov x0, x20
  bl other_cpu_main
3:
  wfi
  b 3b

// void switch_to_thread(uintptr_t *stack_pointer): from the scheduler; returns when the thread gives up the CPU.
  .text
  .globl switch_to_thread, switch_to_scheduler, start_of_thread
switch_to_thread:
  stp x29, x30, [sp, #-112]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  str x0, [sp, #96]
  ldr x1, [x0]
  msr sp_el0, x1
  msr spsel, #0
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp x29, x30, [sp], #96
  ret

// void switch_to_scheduler(void): from a thread.
switch_to_scheduler:
  stp x29, x30, [sp, #-96]!         // these stores may grow the stack
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  mov x1, sp
  msr spsel, #1
  dsb ish                           // what the thread has begun here is complete before another CPU may run it
  ldr x0, [sp, #96]
  str x1, [x0]
back_in_scheduler:
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp x29, x30, [sp], #112
  ret

// Where a new thread begins: x19 is its function, x20 the argument.
start_of_thread:
  mov x0, x20
  blr x19
  bl thread_end

  .balign 2048
vectors:
  b thread_fault                    // EL1t, synchronous
  .balign 128
  .rept 15
  mrs x0, esr_el1
  mrs x1, far_el1
  mrs x2, elr_el1
  b kernel_fault
  .balign 128
  .endr

thread_fault:
  stp x0, x1, [sp, #-192]!
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x9, [sp, #64]
  stp x10, x11, [sp, #80]
  stp x12, x13, [sp, #96]
  stp x14, x15, [sp, #112]
  stp x16, x17, [sp, #128]
  stp x18, x29, [sp, #144]
  str x30, [sp, #160]
  mrs x0, esr_el1
  mrs x1, far_el1
  mrs x2, elr_el1
  bl fault_of_thread                // whether the thread goes on
  cbz w0, 1f
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldp x8, x9, [sp, #64]
  ldp x10, x11, [sp, #80]
  ldp x12, x13, [sp, #96]
  ldp x14, x15, [sp, #112]
  ldp x16, x17, [sp, #128]
  ldp x18, x29, [sp, #144]
  ldr x30, [sp, #160]
  ldp x0, x1, [sp], #192
  eret
1:
  add sp, sp, #192                  // it is never switched to again
  b back_in_scheduler

  // Level-1 tables; each entry maps 1 GiB.
  .globl kernel_table
  .section .data.tables, "aw"
  .balign 4096
low_table:                          // one to one
  .quad 0x0060000000000401 + (DEVICE << 2) // never executed
  .quad 0x0000000040000701 + (NORMAL << 2) // RAM
  .quad 0x0020000040000741 + (NORMAL << 2) // the same for EL0
  .fill 509, 8, 0
#if ADDRESS_BITS == 48
linear_table:                       // the linear map of RAM at 0xffff800040000000
  .fill 1, 8, 0
  .quad 0x0060000040000701 + (NORMAL << 2)
  .fill 510, 8, 0
kernel_table:                       // level 0; each entry 512 GiB
  .fill 256, 8, 0
  .quad linear_table + 3
  .fill 255, 8, 0
#else
kernel_table:                       // the linear map of RAM at 0xffffffc040000000
  .fill 257, 8, 0
  .quad 0x0060000040000701 + (NORMAL << 2)
  .fill 254, 8, 0
#endif
