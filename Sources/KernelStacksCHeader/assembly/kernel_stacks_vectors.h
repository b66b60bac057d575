// Macros for the vectors of kernels that take exceptions on the stacks of their threads (EL1h). For .S files; the assembler is GNU
// as or clang's. C files get the constants. docs/vectors.md explains them, Fixtures/CKernel/el1h.S is a kernel's vectors made of them.
//
// A vector that stores registers on a stack which has overflowed faults again, and again, each time below, until it has passed
// the guard and writes into the neighbour's stack. These macros look at the stack pointer before the first store.
//
// The kernel defines these before it includes this file, as ks_stacks_geometry has them; the size is a power of two:
//
//   KS_STACK_SIZE, KS_STACK_STRIDE, KS_STACK_PHASE
//
// and a macro that sets x0, and changes nothing else, to the top of a stack that this CPU alone has, in memory that is mapped
// always. 2 KiB are enough for the macros; what the kernel's functions take comes on top.
//
//   .macro ks_load_cpu_stack
//   mrs x0, tpidr_el1
//   ldr x0, [x0, #TOP_OF_STACK]
//   .endm
//
// Every stack on which exceptions are taken at EL1h lies in a slot as those of threads do, at its top: boot stacks, and the stacks
// that ks_load_cpu_stack gives:
//
//   | guard, or other memory   | stack                    |
//   ^                                                     ^
//   a multiple of KS_STACK_STRIDE, and KS_STACK_PHASE     + KS_STACK_STRIDE
//
// The macros change the flags, which SPSR_EL1 has, and no register but those that they name.
#ifndef KERNEL_STACKS_VECTORS_H
#define KERNEL_STACKS_VECTORS_H

// Registers as ks_registers in kernel_stacks.h has them.
#define KS_REGISTERS_SIZE 288

// Bytes that are looked ahead: `stp x0, x1, [sp, #-512]!` faults with the stack pointer not moved yet. Together with the frame of the
// vector, of 288 bytes or more, they are 512 or more.
#define KS_MARGIN 240

#ifdef __ASSEMBLER__

// Added to a stack pointer, this moves the stack's part of its slot to the beginning: bits of the slot's other part are 0 then.
#define KS_BIAS (KS_STACK_SIZE - KS_STACK_PHASE)

// Lowers the stack pointer by `bytes`, which are then free to store to; or goes to `overflow`, a label at which ks_overflow stands
// with the same `bytes`, when they are not on the stack.
  .macro ks_enter bytes, overflow
  sub sp, sp, #\bytes
  add sp, sp, x0
  sub x0, sp, x0                    // the stack pointer; sp is that and what x0 was
  add x0, x0, #KS_BIAS
  tst x0, #(KS_STACK_STRIDE - KS_STACK_SIZE)
  b.ne \overflow
  sub x0, x0, #KS_BIAS
  sub x0, sp, x0
  sub sp, sp, x0
  .endm

// Stores all registers into a ks_registers on the stack of this CPU, and calls `handler` with its address in x0 and on that stack,
// interrupts as they are in a vector: void handler(ks_registers *). It does not return. TPIDR_EL0 and TPIDRRO_EL0 are lost.
  .macro ks_overflow bytes, handler
  sub x0, x0, #KS_BIAS
  msr tpidrro_el0, x0
  sub x0, sp, x0
  msr tpidr_el0, x0
  ks_load_cpu_stack
  sub sp, x0, #KS_REGISTERS_SIZE
  stp x1, x2, [sp, #8]
  mrs x0, tpidr_el0
  str x0, [sp]
  mrs x1, tpidrro_el0
  add x1, x1, #\bytes
  ks_store_registers
  mov x0, sp
  bl \handler
  .endm

// All but x0 to x2, which are stored already; x1 is the stack pointer at the exception.
  .macro ks_store_registers
  stp x3, x4, [sp, #24]
  stp x5, x6, [sp, #40]
  stp x7, x8, [sp, #56]
  stp x9, x10, [sp, #72]
  stp x11, x12, [sp, #88]
  stp x13, x14, [sp, #104]
  stp x15, x16, [sp, #120]
  stp x17, x18, [sp, #136]
  stp x19, x20, [sp, #152]
  stp x21, x22, [sp, #168]
  stp x23, x24, [sp, #184]
  stp x25, x26, [sp, #200]
  stp x27, x28, [sp, #216]
  stp x29, x30, [sp, #232]
  mrs x2, elr_el1
  stp x1, x2, [sp, #248]
  mrs x1, spsr_el1
  mrs x2, esr_el1
  stp x1, x2, [sp, #264]
  mrs x1, far_el1
  str x1, [sp, #280]
  .endm

// As ks_enter, for stacks that grow on a fault: what is not mapped is mapped before the first store. Goes to `overflow` as well, at
// which ks_overflow stands with `bytes` and KS_MARGIN, and to `below`, at which ks_look stands, unless all is on the top page.
  .macro ks_enter_growing bytes, overflow, below
  sub sp, sp, #(\bytes + KS_MARGIN)
  add sp, sp, x0
  sub x0, sp, x0
  add x0, x0, #KS_BIAS
  tst x0, #(KS_STACK_STRIDE - KS_STACK_SIZE)
  b.ne \overflow
  // The top page is the one whose number in the stack has no bit that is 0.
  tbz x0, #12, \below
#if KS_STACK_SIZE >= 0x4000
  tbz x0, #13, \below
#endif
#if KS_STACK_SIZE >= 0x8000
  tbz x0, #14, \below
#endif
#if KS_STACK_SIZE >= 0x10000
  tbz x0, #15, \below
#endif
#if KS_STACK_SIZE >= 0x20000
  tbz x0, #16, \below
#endif
#if KS_STACK_SIZE >= 0x40000
  tbz x0, #17, \below
#endif
  sub x0, x0, #KS_BIAS
  sub x0, sp, x0
  sub sp, sp, x0
  add sp, sp, #KS_MARGIN
  .endm

// Looks whether the stack is mapped as far as it is going to be used, and goes to `entered`, the instruction after
// ks_enter_growing. If it is not, it calls `grow` first, with a ks_registers as ks_overflow does, and the lowest address in x1:
//
//   ks_entry grow(ks_registers *, uintptr_t lowest);
//
// KS_ENTER goes on at `entered`, KS_REPEAT returns from the exception, whose access finds its page now. In vectors of interrupts
// `grow` always answers KS_ENTER: ESR_EL1 and FAR_EL1 are of an earlier exception there. `bytes` are those of ks_enter_growing.
// TPIDRRO_EL0 and PAR_EL1 are lost: code that reads PAR_EL1 after AT does both with interrupts masked.
  .macro ks_look bytes, grow, entered
  sub x0, x0, #KS_BIAS
  msr tpidrro_el0, x0
  at s1e1w, x0
  isb
  mrs x0, par_el1
  tbnz x0, #0, 1f
  mrs x0, tpidrro_el0
  sub x0, sp, x0
  sub sp, sp, x0
  add sp, sp, #KS_MARGIN
  b \entered
1:
  ks_load_cpu_stack
  stp x1, x2, [x0, #(8 - KS_REGISTERS_SIZE)]
  mrs x1, tpidrro_el0
  mov x2, sp
  sub x2, x2, x1                    // what x0 was
  sub sp, x0, #KS_REGISTERS_SIZE
  str x2, [sp]
  add x1, x1, #(\bytes + KS_MARGIN)
  ks_store_registers
  mov x0, sp
  mrs x1, tpidrro_el0
  bl \grow
  mov x1, x0
  mrs x2, tpidrro_el0
  add x2, x2, #KS_MARGIN
  ldp x3, x4, [sp, #24]
  ldp x5, x6, [sp, #40]
  ldp x7, x8, [sp, #56]
  ldp x9, x10, [sp, #72]
  ldp x11, x12, [sp, #88]
  ldp x13, x14, [sp, #104]
  ldp x15, x16, [sp, #120]
  ldp x17, x18, [sp, #136]
  ldp x29, x30, [sp, #232]
  cbnz x1, 2f
  mov x0, sp
  mov sp, x2
  ldp x1, x2, [x0, #8]
  ldr x0, [x0]
  b \entered
2:
  ldr x1, [sp, #248]                // the stack pointer at the exception
  mov x0, sp
  mov sp, x1
  ldp x1, x2, [x0, #8]
  ldr x0, [x0]
  eret
  .endm

#endif

#endif
