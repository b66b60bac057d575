// The board's console and its way out; and what the compiler expects every kernel to have.
#include "Board.h"

#if defined(__aarch64__)
#include <stddef.h>

extern char kernel_table[], image_end[];

uintptr_t board_kernel_table(void) { return (uintptr_t)kernel_table; }
uintptr_t board_image_end(void) { return (uintptr_t)image_end; }

void board_put(uint8_t byte) { *(volatile uint32_t *)0x09000000 = byte; }

void board_exit(uint64_t code) {
  uint64_t block[2] = {0x20026, code};
  register uint64_t operation __asm__("x0") = 0x18;
  register uint64_t *parameter __asm__("x1") = block;
  __asm__ volatile("hlt #0xf000" ::"r"(operation), "r"(parameter) : "memory");
  for (;;) {
  }
}

void board_exception(void) {
  for (const char *text = "unexpected exception\n"; *text; text++) board_put((uint8_t)*text);
  board_exit(3);
}

void *memset(void *destination, int value, size_t count) {
  volatile uint8_t *byte = destination;
  while (count--) *byte++ = (uint8_t)value;
  return destination;
}
void *memcpy(void *restrict destination, const void *restrict source, size_t count) {
  volatile uint8_t *to = destination;
  const uint8_t *from = source;
  while (count--) *to++ = *from++;
  return destination;
}
void *memmove(void *destination, const void *source, size_t count) {
  volatile uint8_t *to = destination;
  const uint8_t *from = source;
  if ((uintptr_t)to < (uintptr_t)from) {
    while (count--) *to++ = *from++;
  } else {
    while (count--) to[count] = from[count];
  }
  return destination;
}
#endif
