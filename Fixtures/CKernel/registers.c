// Registers of a CPU that the library relies on, and the kinds of memory that it maps.
#include "board.h"
#include "frames.h"
#include "parts.h"

#define READ(name) \
  ({ \
    uint64_t value; \
    __asm__ volatile("mrs %0, " #name : "=r"(value)); \
    value; \
  })
#define WRITE(name, value) __asm__ volatile("msr " #name ", %0\n\tisb" ::"r"((uint64_t)(value)) : "memory")

// As start.S has it.
#define WRITE_BACK_INDEX (ADDRESS_BITS == 48 ? 2 : 0)

enum which { TCR, SCTLR, MAIR };

static uint64_t read(enum which which) {
  return which == TCR ? READ(tcr_el1) : which == SCTLR ? READ(sctlr_el1) : READ(mair_el1);
}

static void write(enum which which, uint64_t value) {
  if (which == TCR) WRITE(tcr_el1, value);
  if (which == SCTLR) WRITE(sctlr_el1, value);
  if (which == MAIR) WRITE(mair_el1, value);
}

struct change {
  const char *what;
  enum which which;
  uint64_t flipped;
};

// The kernel's code and data are mapped one to one, so it goes on meanwhile.
static const struct change unfit[] = {
    {"MMU off", SCTLR, 1},
    {"data not cached", SCTLR, 1 << 2},
    {"walks not cached", TCR, 1 << 24},
    {"walks not cached outside", TCR, 1 << 26},
    {"walks not shareable", TCR, 3 << 28},
    {"kernel addresses not translated", TCR, 1 << 23},
    {"another number of address bits", TCR, 1 << 16},
    {"another granule", TCR, 3ull << 30},
    {"no write-back memory", MAIR, 0xffull << 8 * WRITE_BACK_INDEX},
};
#define UNFIT (sizeof(unfit) / sizeof(unfit[0]))

static const struct change harmless[] = {
    {"top bytes of user addresses ignored", TCR, 1ull << 37},
    {"ASIDs of 16 bits", TCR, 1ull << 36},
    {"no instruction cache", SCTLR, 1 << 12},
    {"another attribute that is not used", MAIR, 0x44ull << 56},
    {"write-back memory at another index, too", MAIR, ADDRESS_BITS == 48 ? (0x44 ^ 0xff) << 8 : 0xff << 16},
};
#define HARMLESS (sizeof(harmless) / sizeof(harmless[0]))

void show_unfit_registers(const ks_configuration *good) {
  for (size_t index = 0; index < UNFIT; index++) {
    uint64_t before = read(unfit[index].which);
    ks_error error = {0};
    write(unfit[index].which, before ^ unfit[index].flipped);
    ks_code code = initialize(good, &error);
    write(unfit[index].which, before);
    show_refusal(unfit[index].what, code, &error, KS_BAD_MACHINE);
  }
}

static ks_code check_changed(const struct change *change) {
  uint64_t before = read(change->which);
  write(change->which, before ^ change->flipped);
  ks_code code = ks_check_cpu(NULL);
  write(change->which, before);
  return code;
}

void show_other_registers(void) {
  for (size_t index = 0; index < UNFIT; index++) must(check_changed(&unfit[index]) == KS_BAD_MACHINE, unfit[index].what);
  for (size_t index = 0; index < HARMLESS; index++) must(check_changed(&harmless[index]) == KS_OK, harmless[index].what);
  say("{\"type\":\"registers\",\"refused\":%u,\"accepted\":%u}", (uint64_t)UNFIT, (uint64_t)HARMLESS);
}

// The attribute that a load at an address uses, as the MMU says (PAR_EL1).
void check_memory_at(const void *address, uint64_t attribute) {
  __asm__ volatile("at s1e1r, %0\n\tisb" ::"r"(address) : "memory");
  uint64_t result = READ(par_el1);
  must(!(result & 1) && result >> 56 == attribute, "another kind of memory");
}

void check_kinds_of_memory(const ks_stacks *guarded, const ks_stacks *growing) {
  ks_error error;
  const ks_stacks *all[] = {guarded, growing};
  for (int index = 0; index < 2; index++) {
    void *stack = ks_stack_allocate(all[index], KS_ANY_NODE, &error);
    must(stack && ks_stack_populate(all[index], stack, 16384, &error) == KS_OK, error.text);
    for (int page = 0; page < 4; page++) check_memory_at((char *)stack + page * 4096, WRITE_BACK_MEMORY);
    must(ks_stack_free(all[index], stack, &error) == KS_OK, error.text);
  }
  if (OWN_ADDRESSES) return;
  // A small area and one that is not.
  for (size_t size = 4096; size <= 1 << 22; size <<= 10) {
    char *area = ks_vmalloc(size, 4096, KS_ANY_NODE, "a kind of memory", &error);
    must(area, error.text);
    check_memory_at(area, WRITE_BACK_MEMORY);
    check_memory_at(area + size - 1, WRITE_BACK_MEMORY);
    must(ks_vfree(area, &error) == KS_OK, error.text);
  }
}
