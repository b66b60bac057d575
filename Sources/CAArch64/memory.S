// memcpy, memmove, memset and memcmp: what compiled code calls for blocks of bytes.
//
// Alignment faults are possible only on device memory, which none of these is used for.
#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

  .macro  function name
  .section .text.\name, "ax", %progbits
  .global \name
  .p2align 4
\name:
  .endm

// void *memmove(void *to, const void *from, size_t count); also memcpy. Backwards where `to` lies inside the source.
  function memcpy
  .global memmove
memmove:
  sub     x3, x0, x1
  cmp     x3, x2
  b.lo    4f
  mov     x3, x0
1:
  subs    x2, x2, #16
  b.lo    2f
  ldp     x4, x5, [x1], #16
  stp     x4, x5, [x3], #16
  b       1b
2:
  adds    x2, x2, #16
  b.eq    3f
22:
  ldrb    w4, [x1], #1
  strb    w4, [x3], #1
  subs    x2, x2, #1
  b.ne    22b
3:
  ret
4:
  add     x1, x1, x2
  add     x3, x0, x2
5:
  subs    x2, x2, #16
  b.lo    6f
  ldp     x4, x5, [x1, #-16]!
  stp     x4, x5, [x3, #-16]!
  b       5b
6:
  adds    x2, x2, #16
  b.eq    8f
7:
  ldrb    w4, [x1, #-1]!
  strb    w4, [x3, #-1]!
  subs    x2, x2, #1
  b.ne    7b
8:
  ret

// void *memset(void *to, int value, size_t count)
  function memset
  and     x1, x1, #0xff
  mov     x4, #0x0101010101010101
  mul     x1, x1, x4
  mov     x3, x0
1:
  subs    x2, x2, #16
  b.lo    2f
  stp     x1, x1, [x3], #16
  b       1b
2:
  adds    x2, x2, #16
  b.eq    4f
3:
  strb    w1, [x3], #1
  subs    x2, x2, #1
  b.ne    3b
4:
  ret

// int memcmp(const void *a, const void *b, size_t count)
  function memcmp
  mov     x3, #0
1:
  cmp     x3, x2
  b.eq    2f
  ldrb    w4, [x0, x3]
  ldrb    w5, [x1, x3]
  add     x3, x3, #1
  subs    w6, w4, w5
  b.eq    1b
  mov     w0, w6
  ret
2:
  mov     w0, #0
  ret
#endif
