// QEMU's `virt` board: console, the way out, CPUs, and the instruction counter.
#include "board.h"

#include "kernel_stacks.h"

// The one function that the library needs.
uint32_t ks_machine_cpu(void) {
  uint64_t number;
  __asm__ volatile("mrs %0, tpidr_el1" : "=r"(number));
  return (uint32_t)number;
}

static void put(char character) { *(volatile uint32_t *)0x09000000 = (uint8_t)character; }

static void put_number(uint64_t value, unsigned base) {
  char digits[20];
  int count = 0;
  do {
    digits[count++] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  while (count > 0) put(digits[--count]);
}

void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  for (; *format; format++) {
    if (*format != '%') {
      put(*format);
    } else if (*++format == 's') {
      for (const char *text = va_arg(arguments, const char *); *text; text++) put(*text);
    } else {
      if (*format == 'x') put('0'), put('x');
      put_number(va_arg(arguments, uint64_t), *format == 'x' ? 16 : 10);
    }
  }
  va_end(arguments);
  put('\n');
}

void stop(int code) {
  uint64_t block[2] = {0x20026, (uint64_t)code};
  register uint64_t operation __asm__("x0") = 0x18;
  register uint64_t *parameter __asm__("x1") = block;
  __asm__ volatile("hlt #0xf000" ::"r"(operation), "r"(parameter) : "memory");
  for (;;) {
  }
}

void fail(const char *file, int line, const char *text) {
  say("failed: %s:%u: %s", file, (uint64_t)line, text);
  stop(1);
}

void kernel_fault(uint64_t syndrome, uint64_t address, uint64_t instruction) {
  say("failed: exception %x at instruction %x, address %x", syndrome, instruction, address);
  stop(3);
}

// PSCI CPU_ON.
bool start_cpu(uint32_t number) {
  extern char start_other[];
  register uint64_t function __asm__("x0") = 0xc4000003;
  register uint64_t target __asm__("x1") = number;
  register uint64_t entry __asm__("x2") = (uint64_t)start_other;
  register uint64_t context __asm__("x3") = number;
  __asm__ volatile("hvc #0"
                   : "+r"(function), "+r"(target), "+r"(entry), "+r"(context)::"memory", "x4", "x5", "x6", "x7", "x8",
                     "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
  return function == 0;
}

// INST_RETIRED in event counter 0.
void start_counting(void) {
  uint64_t control;
  __asm__ volatile("msr pmevtyper0_el0, %0\n\tmsr pmcntenset_el0, %1" ::"r"(8ull), "r"(1ull));
  __asm__ volatile("mrs %0, pmcr_el0" : "=r"(control));
  __asm__ volatile("msr pmcr_el0, %0\n\tisb" ::"r"(control | 1));
}

uint64_t instructions(void) {
  uint64_t value;
  __asm__ volatile("isb\n\tmrs %0, pmevcntr0_el0" : "=r"(value)::"memory");
  return value;
}
