// Vectors of a kernel whose threads run at EL1h, made of the library's macros: twice, for whole stacks and for stacks that grow.
#include "el1h.h"

  .macro ks_load_cpu_stack          // the CPU's number is in TPIDR_EL1, and cpu_stacks a multiple of 64 KiB
  mrs x0, tpidr_el1
  add x0, x0, #1
  lsl x0, x0, #12
  add x0, x0, #(KS_STACK_STRIDE - KS_STACK_SIZE)
  movk x0, #:abs_g1_nc:cpu_stacks
  .endm
#include "kernel_stacks_vectors.h"

  .text
  .globl el1h_vectors, el1h_growing_vectors, el1h_to_user, el1h_user, el1h_user_end, el1h_keeps_registers

// Stores registers at sp, which has been lowered by FRAME; x0 and x1 are ESR and FAR then.
  .macro store_frame
  stp x0, x1, [sp]
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x9, [sp, #64]
  stp x10, x11, [sp, #80]
  stp x12, x13, [sp, #96]
  stp x14, x15, [sp, #112]
  stp x16, x17, [sp, #128]
  stp x18, x19, [sp, #144]
  stp x20, x21, [sp, #160]
  stp x22, x23, [sp, #176]
  stp x24, x25, [sp, #192]
  stp x26, x27, [sp, #208]
  stp x28, x29, [sp, #224]
  mrs x0, elr_el1
  stp x30, x0, [sp, #240]
  mrs x0, spsr_el1
  mrs x1, sp_el0
  stp x0, x1, [sp, #256]
  mrs x0, esr_el1
  mrs x1, far_el1
  .endm

leave:
  ldp x0, x1, [sp, #256]
  msr spsr_el1, x0
  msr sp_el0, x1
  ldp x30, x0, [sp, #240]
  msr elr_el1, x0
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldp x8, x9, [sp, #64]
  ldp x10, x11, [sp, #80]
  ldp x12, x13, [sp, #96]
  ldp x14, x15, [sp, #112]
  ldp x16, x17, [sp, #128]
  ldp x18, x19, [sp, #144]
  ldp x20, x21, [sp, #160]
  ldp x22, x23, [sp, #176]
  ldp x24, x25, [sp, #192]
  ldp x26, x27, [sp, #208]
  ldp x28, x29, [sp, #224]
  ldp x0, x1, [sp], #FRAME
  eret

synchronous:
  store_frame
  bl el1h_exception
  b leave
interrupt:
  store_frame
  bl el1h_interrupt
  b leave
from_user:
  store_frame
  bl el1h_call
  str x0, [sp]                      // the result
  b leave

  .macro none
  mrs x0, esr_el1
  mrs x1, far_el1
  mrs x2, elr_el1
  b kernel_fault
  .balign 128
  .endm

// A kernel's vectors: the exceptions of threads in the kernel, each entered by a macro, then those at EL0, which begin
// at the top of an empty stack.
  .macro vectors enter_synchronous, enter_interrupt
  .rept 4
  none
  .endr
  \enter_synchronous
  b synchronous
  .balign 128
  \enter_interrupt
  b interrupt
  .balign 128
  none
  none
  sub sp, sp, #FRAME
  b from_user
  .balign 128
  sub sp, sp, #FRAME
  b interrupt
  .balign 128
  .rept 6
  none
  .endr
  .endm

  .macro enter
  ks_enter FRAME, overflow
  .endm
  .macro enter_growing look, entered
  ks_enter_growing FRAME, overflow_with_margin, \look
\entered:
  .endm

  .balign 2048
el1h_vectors:
  vectors "enter", "enter"

  .balign 2048
el1h_growing_vectors:
  vectors "enter_growing look_synchronous, enter_synchronous", "enter_growing look_interrupt, enter_interrupt"

overflow:
  ks_overflow FRAME, el1h_overflow
overflow_with_margin:
  ks_overflow FRAME + KS_MARGIN, el1h_overflow
look_synchronous:
  ks_look FRAME, el1h_grow, enter_synchronous
look_interrupt:
  ks_look FRAME, el1h_grow_for_interrupt, enter_interrupt

// void el1h_to_user(uintptr_t stack_pointer, uintptr_t instruction, uintptr_t kernel_stack_pointer): goes to EL0, interrupts on. The
// thread's own stack is empty then, so exceptions at EL0 begin at its top, which is mapped always.
el1h_to_user:
  msr daifset, #15
  mov sp, x2
  msr sp_el0, x0
  msr elr_el1, x1
  msr spsr_el1, xzr
  eret

// What runs at EL0: system call 0 adds to a count and gives how often it was called, 1 ends the thread.
el1h_user:
  mov x19, #0
1:
  mov x8, #0
  svc #0
  add x19, x19, #1
  stp x0, x19, [sp, #-16]!
  ldp x1, x2, [sp], #16
  cmp x1, x2
  b.ne 2f
  mov x3, #0
3:
  add x3, x3, #1
  cmp x3, #4000
  b.lo 3b
  cmp x19, #20
  b.lo 1b
  mov x8, #1
2:
  svc #1
  b 2b
el1h_user_end:

// uint64_t el1h_keeps_registers(volatile uint64_t *count): keeps numbers in registers, and the flags, during a system call and until
// `count` has changed; 1 if all are as they were.
el1h_keeps_registers:
  stp x29, x30, [sp, #-96]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  .irp number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
  mov x\number, #(0x1234 + \number)
  .endr
  mov x30, #0x1234
  cmp x1, x1                        // Z and C
  svc #0
  b.ne 2f
  mov x18, #0x1234
  cmp x18, x30
  b.ne 2f
  ldr x30, [x0]
1:
  ldr x18, [x0]
  eor x18, x18, x30
  cbz x18, 1b
  b.ne 2f
  .irp number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
  mov x18, #(0x1234 + \number)
  cmp x18, x\number
  b.ne 2f
  .endr
  mov x0, #1
  b 3f
2:
  mov x0, #0
3:
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp x29, x30, [sp], #96
  ret

  .section .bss.cpu_stacks, "aw", %nobits
  .balign 65536
cpu_stacks:                         // 4 KiB for each CPU, side by side in the part of a slot that is a stack
  .skip 65536
