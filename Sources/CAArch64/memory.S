// memcpy, memmove, memset and memcmp: the functions that compiled code calls for blocks of bytes.
//
// They are not used on device memory, the only memory on which an access could take an alignment fault.
#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

  .macro  function name
  .section .text.\name, "ax", %progbits
  .global \name
  .p2align 4
\name:
  .endm

// void *memmove(void *to, const void *from, size_t count); also memcpy.
//
// Up to 64 bytes, all is loaded before anything is stored, and the parts from both ends overlap in the middle. Compiled
// code copies many small structures, so these come first.
  function memcpy
  .global memmove
memmove:
  add     x4, x1, x2                            // ends
  add     x5, x0, x2
  cmp     x2, #32
  b.ls    1f
  cmp     x2, #64
  b.hi    5f
  ldp     x6, x7, [x1]                          // 33 to 64
  ldp     x8, x9, [x1, #16]
  ldp     x10, x11, [x4, #-32]
  ldp     x12, x13, [x4, #-16]
  stp     x6, x7, [x0]
  stp     x8, x9, [x0, #16]
  stp     x10, x11, [x5, #-32]
  stp     x12, x13, [x5, #-16]
  ret
1:
  cmp     x2, #16
  b.lo    2f
  ldp     x6, x7, [x1]                          // 16 to 32
  ldp     x8, x9, [x4, #-16]
  stp     x6, x7, [x0]
  stp     x8, x9, [x5, #-16]
  ret
2:
  tbz     x2, #3, 3f
  ldr     x6, [x1]                              // 8 to 15
  ldr     x7, [x4, #-8]
  str     x6, [x0]
  str     x7, [x5, #-8]
  ret
3:
  tbz     x2, #2, 4f
  ldr     w6, [x1]                              // 4 to 7
  ldr     w7, [x4, #-4]
  str     w6, [x0]
  str     w7, [x5, #-4]
  ret
4:
  cbz     x2, 6f
  lsr     x3, x2, #1                            // 1 to 3
  ldrb    w6, [x1]
  ldrb    w7, [x1, x3]
  ldrb    w8, [x4, #-1]
  strb    w6, [x0]
  strb    w7, [x0, x3]
  strb    w8, [x5, #-1]
6:
  ret
5:
  sub     x3, x0, x1
  cmp     x3, x2
  b.lo    8f                                    // `to` lies inside the source: from the end
  ldp     x12, x13, [x4, #-16]                  // the last 16 bytes, which the loop may not reach
  mov     x3, x0
  sub     x2, x2, #16
7:
  ldp     x6, x7, [x1], #16
  stp     x6, x7, [x3], #16
  subs    x2, x2, #16
  b.hi    7b
  stp     x12, x13, [x5, #-16]
  ret
8:
  ldp     x12, x13, [x1]                        // the first 16 bytes
  sub     x2, x2, #16
9:
  ldp     x6, x7, [x4, #-16]!
  stp     x6, x7, [x5, #-16]!
  subs    x2, x2, #16
  b.hi    9b
  stp     x12, x13, [x0]
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
