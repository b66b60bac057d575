// What one measured operation touched and missed, and sums of several.
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stddef.h>
#include <stdio.h>

#include "model.h"

enum touched {
  TOUCHED_LOADED,             // lines loaded from
  TOUCHED_STORED,             // lines stored to
  TOUCHED_DATA,               // lines loaded from or stored to
  TOUCHED_CODE,               // lines fetched
  TOUCHED_DATA_TRANSLATIONS,  // pages and blocks of these data
  TOUCHED_CODE_TRANSLATIONS,  // pages and blocks of this code
  TOUCHED_KINDS,
};

// Warm: with what the accesses before have left. Cold: the model was emptied when the operation began.
enum state { WARM, COLD, STATES };

typedef uint8_t misses[CORE_COUNT][STATES][MISS_KINDS];

// An access, and what it missed in each model.
struct event {
  enum access access;
  uint64_t line, piece;
  misses missed;
};

struct sums {
  uint64_t operations;
  // Those that were measured one by one: what each touches, and misses when it begins cold, is known of these alone.
  uint64_t single_operations;
  uint64_t touched[TOUCHED_KINDS];
  uint64_t missed[CORE_COUNT][STATES][MISS_KINDS];
};

// Collects the events of an operation. The last ones wait until it is known whether they belong to it.
struct sample {
  struct sums sums;
  struct event *pending;
  size_t pending_count, pending_capacity;
  // The lines and pieces seen: an open hash table, whose entries of earlier operations count as free.
  struct seen *seen;
  size_t seen_count, seen_capacity;
  uint32_t number;
};

void sample_begin(struct sample *sample);
void sample_add(struct sample *sample, const struct event *event);
// The pending events belong to the operation.
void sample_take(struct sample *sample);
// The pending events do not: they are what ends the measurement.
void sample_drop(struct sample *sample);

void sums_add(struct sums *sums, const struct sums *others);
// Writes the means as one line of JSON; only what was missed warm, if the operations were not measured one by one.
void sums_write(const struct sums *sums, const char *type, uint64_t number, FILE *file);

#endif
