#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)
  .text
  .p2align 11
  .global vectors
vectors:
  b .
#endif
