// One core's caches and TLBs.
#ifndef MODEL_H
#define MODEL_H

#include "cores.h"
#include "tables.h"

enum access { LOAD, STORE, FETCH };

// What is counted of an access.
enum miss {
  MISS_DATA,         // a line that the first-level data cache lacked
  MISS_CODE,         // a line that the first-level code cache lacked
  MISS_SECOND,       // a line that the second-level cache lacked: of data, of code, or of descriptors
  MISS_TRANSLATION,  // a translation that a first-level TLB lacked
  MISS_WALK,         // a translation that the second-level TLB lacked, too
  READ_DESCRIPTOR,   // a descriptor that a walk read
  MISS_KINDS,
};
extern const char *const miss_names[MISS_KINDS];

struct model {
  const struct core *core;
  struct store data, code, second;
  struct store data_translations, code_translations, translations, table_addresses;
};

void model_make(struct model *model, const struct core *core);
void model_destroy(struct model *model);
void model_empty(struct model *model);
// Makes an access, and adds what it missed.
void model_access(
    struct model *model, const struct translation *translation, enum access access, uint8_t missed[MISS_KINDS]);
// Completes invalidations: what the tables do not say any more is dropped, or everything.
void model_invalidate(struct model *model, const struct tables *tables, bool everything);

#endif
