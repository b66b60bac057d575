// Functions that use a whole stack, which only code without a stack frame can do.
#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

// uint64_t prove_stack(uintptr_t lowest, uint64_t owner)
//
// Word at address a: (a + (owner << 48)) * 0x9e3779b97f4a7c15, so that no two words, or owners, agree.
  .section .text.prove_stack, "ax", %progbits
  .global prove_stack
prove_stack:
  ldr     x4, =0x9e3779b97f4a7c15
  mov     x5, sp
  mov     x2, x0
1:
  cmp     x2, x5
  b.hs    2f
  add     x3, x2, x1, lsl #48
  mul     x3, x3, x4
  str     x3, [x2], #8
  b       1b
2:
  mov     x2, x0
3:
  cmp     x2, x5
  b.hs    4f
  add     x3, x2, x1, lsl #48
  mul     x3, x3, x4
  ldr     x6, [x2], #8
  cmp     x3, x6
  b.eq    3b
  mov     x0, #0
  ret
4:
  mov     x0, #1
  ret

// void overflow_stack(void)
  .section .text.overflow_stack, "ax", %progbits
  .global overflow_stack
overflow_stack:
  stp     x29, x30, [sp, #-64]!
  mov     x29, sp
  bl      overflow_stack
  ldp     x29, x30, [sp], #64
  ret

// void fault_with_frame_pointer(uintptr_t value): a load from address 0, with another frame pointer.
  .section .text.fault_with_frame_pointer, "ax", %progbits
  .global fault_with_frame_pointer
fault_with_frame_pointer:
  mov     x29, x0
  mov     x0, xzr
  ldr     x0, [x0]
  b       .

// void load_stack_pointer(uintptr_t value, uint64_t how): runs with a wrong stack pointer until a check finds it: 0 calls the
// scheduler, 1 waits for an interrupt, 2 stores.
  .section .text.load_stack_pointer, "ax", %progbits
  .global load_stack_pointer
load_stack_pointer:
  mov     sp, x0
  cmp     x1, #1
  b.eq    2f
  b.hi    1f
  svc     #0
  b       2f
1:
  stp     x29, x30, [sp, #-16]!
2:
  b       2b
  .ltorg
#endif
