// Clearing pages: 64 bytes with each DC ZVA, a page with each turn of the loop.
#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

// void ca_clear_pages(uintptr_t address, uint64_t byte_count)
//
// 16 KiB take about 530 instructions. Both arguments are multiples of 4,096; byte_count is not zero.
  .section .text.ca_clear_pages, "ax", %progbits
  .global ca_clear_pages
  .p2align 4
ca_clear_pages:
  mrs     x2, dczid_el0
  add     x1, x0, x1
  and     x2, x2, #0x1f                         // DZP (bit 4): prohibited; BS (bits 3:0): log2 of the words in a block
  cmp     x2, #4                                // 16 words: 64 bytes
  b.ne    2f
1:
  .rept 64
  dc      zva, x0
  add     x0, x0, #64
  .endr
  cmp     x0, x1
  b.lo    1b
  ret
2:
  .rept 16
  stp     xzr, xzr, [x0], #16
  .endr
  cmp     x0, x1
  b.lo    2b
  ret
#endif
