// Feeds accesses to the models of all cores, and keeps what measured operations cost.
#include "measurement.h"

#include <stdlib.h>
#include <string.h>

#define LATELY_COUNT 4096

static void *allocated(size_t byte_count) {
  void *memory = calloc(1, byte_count);
  if (memory) return memory;
  fprintf(stderr, "memory model: no memory for %zu bytes\n", byte_count);
  exit(1);
}

void measurement_make(struct measurement *measurement, struct memory memory) {
  memset(measurement, 0, sizeof *measurement);
  measurement->tables.memory = memory;
  measurement->lately = allocated(LATELY_COUNT * sizeof *measurement->lately);
  for (int core = 0; core < CORE_COUNT; core++) {
    model_make(&measurement->warm[core], &cores[core]);
    model_make(&measurement->cold[core], &cores[core]);
  }
}

static void forget_lately(struct measurement *measurement) {
  memset(measurement->lately, 0, LATELY_COUNT * sizeof *measurement->lately);
}

void measurement_empty(struct measurement *measurement) {
  for (int core = 0; core < CORE_COUNT; core++) model_empty(&measurement->warm[core]);
}

void measurement_attach(struct measurement *measurement, uint64_t root, uint32_t address_bits) {
  measurement->tables.root = root;
  measurement->tables.address_bits = address_bits;
  measurement->is_attached = true;
  forget_lately(measurement);
  measurement_empty(measurement);
}

// Translations stay as they are until they are invalidated: an entry becomes valid only where it was not.
static const struct translation *translate(struct measurement *measurement, uint64_t address) {
  struct translation *lately = &measurement->lately[address >> 12 & (LATELY_COUNT - 1)];
  if (lately->level == 0 || (lately->address ^ address) >> 12) {
    if (!tables_translate(&measurement->tables, address, lately)) {
      lately->level = 0;
      return NULL;
    }
  }
  lately->physical = (lately->physical & ~4095ull) | (address & 4095);
  lately->address = address;
  return lately;
}

const struct translation *measurement_access(
    struct measurement *measurement, uint64_t address, enum access access, bool *walked) {
  const struct translation *translation = translate(measurement, address);
  if (!translation) {
    measurement->unmapped_count++;
    return NULL;
  }
  const struct memory *memory = &measurement->tables.memory;
  // Devices are not cached.
  if (translation->physical < memory->base || translation->physical - memory->base >= memory->byte_count) return NULL;
  struct event event;
  memset(&event, 0, sizeof event);
  event.access = access;
  event.line = translation->physical / LINE_BYTES;
  event.piece = piece_number(address, level_shift(translation->level)) << 2 | translation->level;
  for (int core = 0; core < CORE_COUNT; core++) {
    model_access(&measurement->warm[core], translation, access, event.missed[core][WARM]);
    *walked |= event.missed[core][WARM][MISS_WALK] != 0;
  }
  if (!measurement->is_measuring) return translation;
  if (!measurement->is_long) {
    for (int core = 0; core < CORE_COUNT; core++) {
      model_access(&measurement->cold[core], translation, access, event.missed[core][COLD]);
    }
  }
  sample_add(&measurement->sample, &event);
  return translation;
}

void measurement_invalidate(struct measurement *measurement, bool everything) {
  if (!measurement->is_attached) return;
  forget_lately(measurement);
  for (int core = 0; core < CORE_COUNT; core++) {
    model_invalidate(&measurement->warm[core], &measurement->tables, everything);
    if (measurement->is_measuring) model_invalidate(&measurement->cold[core], &measurement->tables, everything);
  }
}

void measurement_begin(struct measurement *measurement, bool is_long) {
  measurement->is_measuring = true;
  measurement->is_long = is_long;
  for (int core = 0; core < CORE_COUNT; core++) model_empty(&measurement->cold[core]);
  sample_begin(&measurement->sample);
}

void measurement_call(struct measurement *measurement) {
  if (measurement->is_measuring) sample_take(&measurement->sample);
}

static uint64_t new_name(struct measurement *measurement, const struct sums *sums) {
  if (measurement->sums_count == measurement->sums_capacity) {
    size_t capacity = measurement->sums_capacity ? 2 * measurement->sums_capacity : 1024;
    struct sums *larger = realloc(measurement->sums, capacity * sizeof *larger);
    if (!larger) {
      fprintf(stderr, "memory model: no memory for %zu sums\n", capacity);
      exit(1);
    }
    measurement->sums = larger;
    measurement->sums_capacity = capacity;
  }
  measurement->sums[measurement->sums_count++] = *sums;
  return measurement->sums_count;
}

uint64_t measurement_end(struct measurement *measurement, uint64_t operations) {
  measurement->is_measuring = false;
  sample_drop(&measurement->sample);
  measurement->sample.sums.operations = operations;
  measurement->sample.sums.single_operations = measurement->is_long ? 0 : operations;
  return new_name(measurement, &measurement->sample.sums);
}

const struct sums *measurement_sums(const struct measurement *measurement, uint64_t name) {
  return name > 0 && name <= measurement->sums_count ? &measurement->sums[name - 1] : NULL;
}

uint64_t measurement_add(struct measurement *measurement, uint64_t first, uint64_t second) {
  static const struct sums nothing;
  const struct sums *added = measurement_sums(measurement, second);
  if (!added) return first;
  struct sums copy = *added;
  if (!measurement_sums(measurement, first)) first = new_name(measurement, &nothing);
  sums_add(&measurement->sums[first - 1], &copy);
  return first;
}
