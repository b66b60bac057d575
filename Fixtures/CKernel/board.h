// QEMU's `virt` board: console, the way out, CPUs, and the instruction counter.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAM_START 0x40000000ull
#define RAM_SIZE (128ull << 20)
// Reserved at first: whole blocks of 1,024 frames, with other memory beside them.
#define DONATED (RAM_START + (112ull << 20))
#define DONATED_SIZE (8ull << 20)
#if ADDRESS_BITS == 48
#define LINEAR_MAP_OFFSET 0xffff800000000000ull
#define VMALLOC_START 0xffff008000000000ull
#define FREE_ROOT_ENTRY 0xfffff00000000000ull
#else
#define LINEAR_MAP_OFFSET 0xffffffc000000000ull
#define VMALLOC_START 0xffffff8040000000ull
#define FREE_ROOT_ENTRY 0xffffffbd00000000ull
#endif

extern char image_end[], boot_stacks[];

// Writes a line: %s text, %u and %x a uint64_t. Only one CPU writes at a time.
void say(const char *format, ...);
_Noreturn void stop(int code);
// Says why, and stops with code 1, unless it holds.
#define must(condition, text) \
  do { \
    if (!(condition)) fail(__FILE__, __LINE__, text); \
  } while (0)
_Noreturn void fail(const char *file, int line, const char *text);

bool start_cpu(uint32_t number);
void start_counting(void);
uint64_t instructions(void);

static inline void *linear_address(uint64_t physical) { return (void *)(physical + LINEAR_MAP_OFFSET); }
