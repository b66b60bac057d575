// The models of all cores while the machine runs: what each access does to them, and which accesses a measurement has.
#ifndef MEASUREMENT_H
#define MEASUREMENT_H

#include "sample.h"

struct measurement {
  struct tables tables;
  bool is_attached;
  struct model warm[CORE_COUNT], cold[CORE_COUNT];
  // Translations that were looked up lately, by page.
  struct translation *lately;
  struct sample sample;
  bool is_measuring, is_long;
  // Sums by name, from 1 on.
  struct sums *sums;
  uint64_t sums_count, sums_capacity;
  // Accesses to addresses that the tables do not map.
  uint64_t unmapped_count;
};

void measurement_make(struct measurement *measurement, struct memory memory);
// Begins with empty models.
void measurement_attach(struct measurement *measurement, uint64_t root, uint32_t address_bits);
// Makes an access to an upper address in all models. Returns how it is mapped, or NULL; `walked` tells whether a warm TLB
// lacked it.
const struct translation *measurement_access(
    struct measurement *measurement, uint64_t address, enum access access, bool *walked);
void measurement_invalidate(struct measurement *measurement, bool everything);
// Empties the warm models.
void measurement_empty(struct measurement *measurement);

// An operation begins. A long one is several, and has no cold models.
void measurement_begin(struct measurement *measurement, bool is_long);
// The function that ends a measurement may be called next: all up to here belongs to the operation.
void measurement_call(struct measurement *measurement);
// The operation, or so many, ended at the last call. Returns its name.
uint64_t measurement_end(struct measurement *measurement, uint64_t operations);

// Adds sums by name; 0 names none, or as the first a new one. Returns the name of the sum.
uint64_t measurement_add(struct measurement *measurement, uint64_t first, uint64_t second);
const struct sums *measurement_sums(const struct measurement *measurement, uint64_t name);

#endif
