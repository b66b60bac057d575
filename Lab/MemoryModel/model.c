// One core's caches and TLBs, access by access.
//
//   address --> first-level TLB --> second-level TLB --> walk: from the last table whose address is known
//                                                         |
//   line    --> first-level cache ----------------> second-level cache
//
// Nothing is fetched ahead. A store takes its line as a load does.
#include "model.h"

const char *const miss_names[MISS_KINDS] = {"l1Data", "l1Code", "l2", "tlb", "l2Tlb", "descriptors"};

// What an entry of a TLB is of: a piece of so many bytes, or the address of the table that a level leads to.
enum { KIND_TABLE = 32 };
#define ENTRY(number, kind) ((number) << 6 | (kind))

void model_make(struct model *model, const struct core *core) {
  model->core = core;
  store_make(&model->data, core->data.bytes / LINE_BYTES, core->data.ways, core->data.replacement);
  store_make(&model->code, core->code.bytes / LINE_BYTES, core->code.ways, core->code.replacement);
  store_make(&model->second, core->second.bytes / LINE_BYTES, core->second.ways, core->second.replacement);
  store_make(&model->data_translations, core->data_translations, core->data_translations, REPLACE_LRU);
  store_make(&model->code_translations, core->code_translations, core->code_translations, REPLACE_LRU);
  store_make(&model->translations, core->translations, core->translation_ways, REPLACE_LRU);
  uint32_t addresses = core->table_addresses ? core->table_addresses : 1;
  store_make(&model->table_addresses, addresses, addresses, REPLACE_LRU);
}

void model_destroy(struct model *model) {
  store_destroy(&model->data);
  store_destroy(&model->code);
  store_destroy(&model->second);
  store_destroy(&model->data_translations);
  store_destroy(&model->code_translations);
  store_destroy(&model->translations);
  store_destroy(&model->table_addresses);
}

static void empty_translations(struct model *model) {
  store_empty(&model->data_translations);
  store_empty(&model->code_translations);
  store_empty(&model->translations);
  store_empty(&model->table_addresses);
}

void model_empty(struct model *model) {
  store_empty(&model->data);
  store_empty(&model->code);
  store_empty(&model->second);
  empty_translations(model);
}

// The second-level cache holds what the data cache holds.
static void use_second(struct model *model, uint64_t line, uint8_t missed[MISS_KINDS]) {
  if (store_use(&model->second, line, line)) return;
  missed[MISS_SECOND]++;
  uint64_t evicted;
  if (store_put(&model->second, line, line, &evicted)) store_remove(&model->data, evicted, evicted);
}

static struct store *table_addresses(struct model *model) {
  return model->core->table_addresses ? &model->table_addresses : &model->translations;
}

// Reads the descriptors from the last table whose address is known to the one that maps the address.
static void walk(struct model *model, const struct translation *translation, uint8_t missed[MISS_KINDS]) {
  struct store *addresses = table_addresses(model);
  uint32_t level = translation->level;
  for (; level > translation->first_level; level--) {
    uint64_t number = piece_number(translation->address, level_shift(level - 1));
    if (store_use(addresses, number, ENTRY(number, KIND_TABLE + level - 1))) break;
  }
  for (; level <= translation->level; level++) {
    missed[READ_DESCRIPTOR]++;
    use_second(model, translation->descriptors[level] / LINE_BYTES, missed);
    if (level == translation->level) break;
    uint64_t number = piece_number(translation->address, level_shift(level)), evicted;
    store_put(addresses, number, ENTRY(number, KIND_TABLE + level), &evicted);
  }
}

static void translate(
    struct model *model, const struct translation *translation, enum access access, uint8_t missed[MISS_KINDS]) {
  struct store *first = access == FETCH ? &model->code_translations : &model->data_translations;
  const uint8_t *pieces = access == FETCH ? model->core->code_piece : model->core->data_piece;
  uint32_t piece = pieces[translation->level], whole = level_shift(translation->level);
  uint64_t number = piece_number(translation->address, piece), evicted;
  if (store_use(first, number, ENTRY(number, piece))) return;
  missed[MISS_TRANSLATION]++;
  uint64_t block = piece_number(translation->address, whole);
  if (!store_use(&model->translations, block, ENTRY(block, whole))) {
    missed[MISS_WALK]++;
    walk(model, translation, missed);
    store_put(&model->translations, block, ENTRY(block, whole), &evicted);
  }
  store_put(first, number, ENTRY(number, piece), &evicted);
}

void model_access(
    struct model *model, const struct translation *translation, enum access access, uint8_t missed[MISS_KINDS]) {
  translate(model, translation, access, missed);
  uint64_t line = translation->physical / LINE_BYTES, evicted;
  struct store *first = access == FETCH ? &model->code : &model->data;
  if (store_use(first, line, line)) return;
  missed[access == FETCH ? MISS_CODE : MISS_DATA]++;
  use_second(model, line, missed);
  store_put(first, line, line, &evicted);
}

// Kernel addresses have the bits 63 to 48 set.
static bool is_valid(uint64_t entry, void *context) {
  const struct tables *tables = context;
  uint32_t kind = entry & 63;
  if (kind >= KIND_TABLE) {
    uint32_t level = kind - KIND_TABLE;
    return tables_lead_on(tables, entry >> 6 << level_shift(level) | 0xffffull << 48, level);
  }
  struct translation found;
  return tables_translate(tables, entry >> 6 << kind | 0xffffull << 48, &found) && level_shift(found.level) >= kind;
}

void model_invalidate(struct model *model, const struct tables *tables, bool everything) {
  if (everything) return empty_translations(model);
  store_keep(&model->data_translations, is_valid, (void *)tables);
  store_keep(&model->code_translations, is_valid, (void *)tables);
  store_keep(&model->translations, is_valid, (void *)tables);
  store_keep(&model->table_addresses, is_valid, (void *)tables);
}
