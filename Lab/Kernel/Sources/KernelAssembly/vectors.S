// Exception entry and exit.
//
// Thread code runs at EL1t: SP is SP_EL0, the thread's stack. Exceptions are taken at EL1h: SP is SP_EL1, the CPU's
// exception stack, which is empty whenever thread or user code runs. TPIDR_EL1 is the current task's record.
//
//   from    what            registers go to               the handler runs
//   EL1t    stack growth    the exception stack           at EL1h, on the exception stack
//   EL1t    synchronous     the current task's record     at EL1h, on the exception stack
//   EL1t    interrupt       the current task's record     at EL1h, on the exception stack
//   EL0     interrupt       the current task's record     at EL1h, on the exception stack
//   EL0     synchronous     the top of the task's stack   at EL1t, on the task's stack, with interrupts on
//   EL1h    anything        the emergency stack           at EL1h, and doesn't return
//
// A handler at EL1h returns the record of the task to continue; a switch is to restore another task's. An exception from EL1t
// is never pushed on the thread's own stack, which may have caused it.
#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

#include "frame_layout.h"

// x2…x29 to or from the frame at x0.
  .macro  frame_registers instruction
  \instruction x2, x3, [x0, #FRAME_X(2)]
  \instruction x4, x5, [x0, #FRAME_X(4)]
  \instruction x6, x7, [x0, #FRAME_X(6)]
  \instruction x8, x9, [x0, #FRAME_X(8)]
  \instruction x10, x11, [x0, #FRAME_X(10)]
  \instruction x12, x13, [x0, #FRAME_X(12)]
  \instruction x14, x15, [x0, #FRAME_X(14)]
  \instruction x16, x17, [x0, #FRAME_X(16)]
  \instruction x18, x19, [x0, #FRAME_X(18)]
  \instruction x20, x21, [x0, #FRAME_X(20)]
  \instruction x22, x23, [x0, #FRAME_X(22)]
  \instruction x24, x25, [x0, #FRAME_X(24)]
  \instruction x26, x27, [x0, #FRAME_X(26)]
  \instruction x28, x29, [x0, #FRAME_X(28)]
  .endm

// Completes the frame at x0: x0 and x1 wait on the exception stack.
  .macro  save_frame
  frame_registers stp
  ldp     x2, x3, [sp], #16
  stp     x2, x3, [x0, #FRAME_X(0)]
  mrs     x1, sp_el0
  stp     x30, x1, [x0, #FRAME_X(30)]
  mrs     x2, elr_el1
  mrs     x3, spsr_el1
  stp     x2, x3, [x0, #FRAME_ELR]
  mrs     x1, esr_el1
  mrs     x2, far_el1
  mov     x29, xzr                              // backtraces end here
  .endm

  .macro  save_to_record
  stp     x0, x1, [sp, #-16]!
  mrs     x0, tpidr_el1
  save_frame
  .endm

// Goes on with the frame at x0.
  .macro  restore_frame
  ldp     x2, x3, [x0, #FRAME_ELR]
  msr     elr_el1, x2
  msr     spsr_el1, x3
  ldp     x30, x1, [x0, #FRAME_X(30)]
  msr     sp_el0, x1
  frame_registers ldp
  ldp     x0, x1, [x0, #FRAME_X(0)]
  eret
  .endm

  .macro  vector target
  .p2align 7
  b       \target
  .endm

// Saves x0 and x1 in TPIDR_EL0 and CONTEXTIDR_EL1: the kernel keeps no values there, and this path never returns to EL0, which
// has its own TPIDR_EL0.
  .macro  emergency_vector
  .p2align 7
  msr     tpidr_el0, x0
  msr     contextidr_el1, x1
  b       emergency
  .endm

  .text
  .p2align 11
  .global vectors
vectors:
  vector  thread_synchronous                    // EL1t
  vector  interrupt
  vector  unexpected
  vector  unexpected
  emergency_vector                              // EL1h
  emergency_vector
  emergency_vector
  emergency_vector
  vector  user_synchronous                      // EL0, AArch64
  vector  interrupt
  vector  unexpected
  vector  unexpected
  emergency_vector                              // EL0, AArch32: never entered
  emergency_vector
  emergency_vector
  emergency_vector

// A translation fault of thread code may be the thread's stack growing: then only what a function may change is saved,
// on the exception stack, and the thread goes on where it was.
//
//   exception stack   +0x00 x2 x3 … x16 x17   +0x80 x18 x30   +0x90 x0 x1   +0xa0 (empty)
thread_synchronous:
  stp     x0, x1, [sp, #-16]!
  mrs     x0, esr_el1
  lsr     x1, x0, #26
  cmp     x1, #0x25                             // EC: data abort taken from EL1
  b.ne    1f
  and     x1, x0, #0x3c
  cmp     x1, #0x04                             // DFSC: translation fault, any level
  b.ne    1f
  stp     x2, x3, [sp, #-0x90]!
  stp     x4, x5, [sp, #0x10]
  stp     x6, x7, [sp, #0x20]
  stp     x8, x9, [sp, #0x30]
  stp     x10, x11, [sp, #0x40]
  stp     x12, x13, [sp, #0x50]
  stp     x14, x15, [sp, #0x60]
  stp     x16, x17, [sp, #0x70]
  stp     x18, x30, [sp, #0x80]
  mrs     x0, far_el1
  mrs     x1, tpidr_el1
  ldr     x1, [x1, #TASK_STACK_BASE]
  bl      kernelGrow                            // (FAR, stack base) -> whether the stack has grown
  mov     x1, x0
  ldp     x4, x5, [sp, #0x10]
  ldp     x6, x7, [sp, #0x20]
  ldp     x8, x9, [sp, #0x30]
  ldp     x10, x11, [sp, #0x40]
  ldp     x12, x13, [sp, #0x50]
  ldp     x14, x15, [sp, #0x60]
  ldp     x16, x17, [sp, #0x70]
  ldp     x18, x30, [sp, #0x80]
  ldp     x2, x3, [sp], #0x90
  cbz     x1, 1f
  ldp     x0, x1, [sp], #16
  eret
1:
  mrs     x0, tpidr_el1
  save_frame
  bl      kernelException                       // (record, ESR, FAR) -> record
  restore_frame

interrupt:
  save_to_record
  bl      kernelInterrupt                       // (record) -> record
  restore_frame

unexpected:
  save_to_record
  bl      kernelUnexpected                      // (record, ESR, FAR), doesn't return
  b       .

//  stack top  +----------------------+
//             | frame of the process | 0x110 bytes, always mapped
//             +----------------------+ <- SP_EL0 of the handler
user_synchronous:
  stp     x0, x1, [sp, #-16]!
  mrs     x0, tpidr_el1
  ldr     x0, [x0, #TASK_STACK_TOP]
  sub     x0, x0, #FRAME_SIZE
  save_frame
  msr     sp_el0, x0
  msr     SPSel, #0
  msr     daifclr, #3
  bl      userException                         // (frame, ESR, FAR)
  msr     daifset, #3
  msr     SPSel, #1
  mrs     x0, sp_el0
  restore_frame

// An exception in a handler at EL1h. x0 and x1 wait in TPIDR_EL0 and CONTEXTIDR_EL1.
emergency:
  mrs     x0, tpidrro_el0
  ldr     x1, =emergency_stack_tops
  ldr     x0, [x1, x0, lsl #3]
  sub     x0, x0, #FRAME_SIZE
  mov     x1, sp
  mov     sp, x0
  frame_registers stp
  stp     x30, x1, [x0, #FRAME_X(30)]
  mrs     x2, tpidr_el0
  mrs     x3, contextidr_el1
  stp     x2, x3, [x0, #FRAME_X(0)]
  mrs     x2, elr_el1
  mrs     x3, spsr_el1
  stp     x2, x3, [x0, #FRAME_ELR]
  mrs     x1, esr_el1
  mrs     x2, far_el1
  mov     x29, xzr
  bl      kernelEmergency                       // (frame, ESR, FAR), doesn't return
  b       .

// void start_thread: the entry of a new thread, at EL1t: calls the function in x19 with the argument in x20.
  .global start_thread
start_thread:
  mov     x29, xzr
  mov     x30, xzr
  mov     x0, x20
  blr     x19
  bl      kernelThreadReturned
  b       .

// void use_exception_stack(uintptr_t top): SP_EL1 cannot be named at EL1, so select it, set it, and go back.
  .global use_exception_stack
use_exception_stack:
  mrs     x1, daif
  msr     daifset, #15
  msr     SPSel, #1
  mov     sp, x0
  msr     SPSel, #0
  msr     daif, x1
  ret

// Accesses that may fault. Each returns 0, or the ESR of its fault; kernelException resumes a fault between probe_begin and
// probe_end, or of an instruction fetch called from there, at probe_recover.
  .global probe_begin, probe_end, probe_recover, probe_load, probe_store, probe_call
probe_begin:
probe_load:                                     // (address) -> ESR
  mov     x9, x30
  ldrb    w1, [x0]
  mov     x0, #0
  ret
probe_store:                                    // (address) -> ESR; stores the byte that is there
  mov     x9, x30
  ldrb    w1, [x0]
  strb    w1, [x0]
  mov     x0, #0
  ret
probe_call:                                     // (address) -> ESR
  mov     x9, x30
  blr     x0
  mov     x30, x9
  mov     x0, #0
  ret
probe_end:
probe_recover:
  mov     x30, x9
  ret

// The top of each CPU's emergency stack: that of the first is part of the image.
  .data
  .p2align 6
  .global emergency_stack_tops
emergency_stack_tops:
  .quad   emergency_stack_top
  .fill   MAXIMUM_CPUS - 1, 8, 0

// The record of each CPU: that of the first is static, and one that has none yet has that of a CPU that is offline.
  .global cpu_records
cpu_records:
  .quad   first_cpu_record
  .rept   MAXIMUM_CPUS - 1
  .quad   absent_cpu_record
  .endr

// Static records: of the boot task, of each CPU, and of what Swift makes once at boot.
  .bss
  .p2align 12
  .global first_cpu_record, spin_list, boot_task, bare_stacks, kernel_frames, kernel_arena, kernel_stacks, kernel_processes
  .global kernel_board, kernel_memory_map, kernel_scheduler
  .global console_lock, self_test_lock, self_test_words, model_page
first_cpu_record:
  .skip   512
absent_cpu_record:
  .skip   512
spin_list:                                      // see boot.S
  .skip   MAXIMUM_CPUS * 16
boot_task:
  .skip   512
bare_stacks:                                    // all four of a kernel that only measures
kernel_frames:
  .skip   256
kernel_arena:
  .skip   256
kernel_stacks:
  .skip   64
kernel_processes:
  .skip   448
kernel_board:
  .skip   3072
kernel_memory_map:
  .skip   2048
kernel_scheduler:
  .skip   64
console_lock:                                   // a cache line of its own
  .skip   64
self_test_lock:
  .skip   64
self_test_words:
  .skip   32 * 8
model_page:                                     // two cache lines of its own
  .skip   128
#endif
