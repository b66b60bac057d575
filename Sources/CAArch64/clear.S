// Clearing pages: 64 bytes with each DC ZVA, a page with each turn of the loop.
#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

// void ca_clear_pages(uintptr_t address, uint64_t byte_count)
// void *ca_clear_within(uintptr_t base, uint64_t byte_count, uint64_t offset)
//
// 16 KiB take about 530 instructions. All arguments are multiples of 4,096; byte_count is not zero. The second clears from base +
// offset on and returns base, so that a function which hands out what it has cleared can end in it.
  .section .text.ca_clear_pages, "ax", %progbits
  .global ca_clear_pages
  .global ca_clear_within
  .p2align 6
ca_clear_pages:
  mrs     x3, dczid_el0
  mov     x2, x0
  and     x3, x3, #0x1f                         // DZP (bit 4): prohibited; BS (bits 3:0): log2 of the words in a block
  cmp     x3, #4                                // 16 words: 64 bytes
  b.eq    1f
  b       2f
  .p2align 4
ca_clear_within:
  mrs     x3, dczid_el0
  add     x2, x0, x2
  and     x3, x3, #0x1f
  cmp     x3, #4
  b.ne    2f
1:
  .rept 64
  dc      zva, x2
  add     x2, x2, #64
  .endr
  subs    x1, x1, #4096
  b.ne    1b
  ret
2:
  .rept 16
  stp     xzr, xzr, [x2], #16
  .endr
  subs    x1, x1, #256
  b.ne    2b
  ret
#endif
