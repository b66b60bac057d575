// Vectors and a switch for threads at EL1h: an exception of a thread is taken on the thread's stack, wherever that is.

// void lent_switch(uintptr_t *from, uintptr_t to)
  .text
  .globl lent_switch, lent_start, lent_vectors
lent_switch:
  stp x29, x30, [sp, #-96]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp x29, x30, [sp], #96
  ret

// Where a new thread begins: x19 is its depth.
lent_start:
  mov x0, x19
  bl lent_main

  .balign 2048
lent_vectors:
  .rept 4
  b .
  .balign 128
  .endr
  b lent_synchronous                // EL1h
  .balign 128
  .rept 11
  b .
  .balign 128
  .endr

lent_synchronous:
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
  mrs x0, elr_el1
  mrs x1, spsr_el1
  stp x30, x0, [sp, #160]
  str x1, [sp, #176]
  mrs x0, esr_el1
  bl lent_exception
  ldr x1, [sp, #176]
  ldp x30, x0, [sp, #160]
  msr elr_el1, x0
  msr spsr_el1, x1
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldp x8, x9, [sp, #64]
  ldp x10, x11, [sp, #80]
  ldp x12, x13, [sp, #96]
  ldp x14, x15, [sp, #112]
  ldp x16, x17, [sp, #128]
  ldp x18, x29, [sp, #144]
  ldp x0, x1, [sp], #192
  eret
