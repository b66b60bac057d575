// Known patterns of accesses and their known answers. Prints what is wrong; the exit code is 0 if nothing is.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "measurement.h"

static int failures;

static void expect(const char *what, uint64_t found, uint64_t expected) {
  if (found == expected) return;
  printf("%s: %llu, not %llu\n", what, (unsigned long long)found, (unsigned long long)expected);
  failures++;
}

// Memory of 64 MiB with tables for upper addresses of 39 bits.
//
//   0xffffff80 00000000   pages at a distance    each page a frame of its own
//   0xffffffc0 00000000   the linear map         blocks of 2 MiB
#define BASE 0x40000000ull
#define BYTES (64ull << 20)
#define PAGES 0xffffff8000000000ull
#define LINEAR 0xffffffc000000000ull

static struct memory memory;
static uint64_t next_table;

static uint64_t *word(uint64_t physical) { return (uint64_t *)(memory.bytes + (physical - BASE)); }

static uint64_t entry(uint64_t table, uint64_t address, uint32_t level) {
  return table + (address >> level_shift(level) & 511) * 8;
}

static uint64_t make_table(void) {
  next_table += 4096;
  return next_table - 4096;
}

static uint64_t begin_tables(void) {
  if (!memory.bytes) memory = (struct memory){aligned_alloc(4096, BYTES), BASE, BYTES};
  memset(memory.bytes, 0, BYTES);
  next_table = BASE + (32ull << 20);
  return make_table();
}

static void map(uint64_t root, uint64_t address, uint64_t physical, uint32_t level) {
  uint64_t table = root;
  for (uint32_t at = 1; at < level; at++) {
    uint64_t *descriptor = word(entry(table, address, at));
    if (!*descriptor) *descriptor = make_table() | 3;
    table = *descriptor & ~4095ull;
  }
  *word(entry(table, address, level)) = physical | (level == 3 ? 3 : 1);
}

static struct measurement measurement;

static void begin(uint64_t root) {
  static bool is_made;
  if (!is_made) measurement_make(&measurement, memory);
  is_made = true;
  measurement_attach(&measurement, root, 39);
}

static void touch(uint64_t address, enum access access) {
  bool walked;
  if (!measurement_access(&measurement, address, access, &walked)) failures++;
}

// The misses of an operation that touches `count` addresses at a distance.
static struct sums sweep(uint64_t first, uint64_t distance, uint64_t count, enum access access) {
  measurement_begin(&measurement, false);
  for (uint64_t index = 0; index < count; index++) touch(first + index * distance, access);
  measurement_call(&measurement);
  return *measurement_sums(&measurement, measurement_end(&measurement, 1));
}

static uint64_t linear_root(void) {
  uint64_t root = begin_tables();
  for (uint64_t at = 0; at < BYTES; at += 2 << 20) map(root, LINEAR + at, BASE + at, 2);
  return root;
}

static void test_caches(void) {
  begin(linear_root());
  for (int core = 0; core < CORE_COUNT; core++) {
    uint64_t data = cores[core].data.bytes, code = cores[core].code.bytes;
    struct sums first = sweep(LINEAR, LINE_BYTES, data / LINE_BYTES, LOAD);
    struct sums second = sweep(LINEAR, LINE_BYTES, data / LINE_BYTES, LOAD);
    expect("lines of a full data cache", second.touched[TOUCHED_DATA], data / LINE_BYTES);
    expect("misses of a full data cache, again", second.missed[core][WARM][MISS_DATA], 0);
    expect("its cold misses", first.missed[core][COLD][MISS_DATA], data / LINE_BYTES);
    expect("its cold misses in the second level", second.missed[core][COLD][MISS_SECOND], data / LINE_BYTES + 2);
    measurement_empty(&measurement);
    sweep(LINEAR, LINE_BYTES, code / LINE_BYTES, FETCH);
    expect("misses of a full code cache, again",
           sweep(LINEAR, LINE_BYTES, code / LINE_BYTES, FETCH).missed[core][WARM][MISS_CODE], 0);
    measurement_empty(&measurement);
  }
  // Lines of one set: as many as there are ways stay; LRU loses all where one more takes turns with them.
  uint64_t set_distance = cores[0].data.bytes / cores[0].data.ways;
  sweep(LINEAR, set_distance, 2, LOAD);
  expect("two lines of a set of two ways", sweep(LINEAR, set_distance, 2, LOAD).missed[0][WARM][MISS_DATA], 0);
  sweep(LINEAR, set_distance, 3, LOAD);
  expect("three lines of a set of two ways", sweep(LINEAR, set_distance, 3, LOAD).missed[0][WARM][MISS_DATA], 3);
}

static void test_replacement(void) {
  struct store store;
  uint64_t evicted = 0;
  store_make(&store, 4, 4, REPLACE_TREE);
  for (uint64_t value = 1; value <= 4; value++) store_put(&store, 0, value, &evicted);
  store_use(&store, 0, 1);
  // The tree points away from 1: to the other half, and there away from 4, which came last.
  expect("something goes", store_put(&store, 0, 5, &evicted), 1);
  expect("what a tree of bits evicts", evicted, 3);
  store_empty(&store);
  expect("a store that was emptied", store_use(&store, 0, 5), 0);
  expect("nothing goes", store_put(&store, 0, 6, &evicted), 0);
  store_destroy(&store);
}

static void test_inclusion(void) {
  begin(linear_root());
  // 17 lines of one set of A72's second level, which has 16 ways; the data cache has them in two ways of one set.
  uint64_t distance = cores[0].second.bytes / cores[0].second.ways;
  struct model *model = &measurement.warm[0];
  sweep(LINEAR, distance, 1, LOAD);
  expect("a line in both caches", store_use(&model->data, BASE / LINE_BYTES, BASE / LINE_BYTES), 1);
  for (uint64_t index = 1; index <= 16; index++) {
    touch(LINEAR + index * distance, LOAD);
    // Used again and again in the first level, of which the second knows nothing.
    if (index < 16) touch(LINEAR, LOAD);
  }
  expect("it leaves both", store_use(&model->data, BASE / LINE_BYTES, BASE / LINE_BYTES), 0);
}

static void test_translations(void) {
  uint64_t root = begin_tables();
  for (uint64_t page = 0; page < 2048; page++) map(root, PAGES + page * 4096, BASE + page * 4096, 3);
  begin(root);
  for (int core = 0; core < CORE_COUNT; core++) {
    uint64_t entries = cores[core].data_translations;
    // One line in each page, each of another set of the cache.
    sweep(PAGES, 4096 + LINE_BYTES, entries, LOAD);
    struct sums again = sweep(PAGES, 4096 + LINE_BYTES, entries, LOAD);
    expect("pages", again.touched[TOUCHED_DATA_TRANSLATIONS], entries);
    expect("as many pages as a first-level TLB has", again.missed[core][WARM][MISS_TRANSLATION], 0);
    sweep(PAGES, 4096 + LINE_BYTES, entries + 1, LOAD);
    again = sweep(PAGES, 4096 + LINE_BYTES, entries + 1, LOAD);
    expect("one page more, in turn", again.missed[core][WARM][MISS_TRANSLATION], entries + 1);
    expect("these are in the second level", again.missed[core][WARM][MISS_WALK], 0);
  }
  // A walk of a new page reads three descriptors, of the next page one, of the first page of the next table two.
  for (int core = 0; core < CORE_COUNT; core++) {
    expect("descriptors of a page", sweep(PAGES, 1, 1, LOAD).missed[core][COLD][READ_DESCRIPTOR], 3);
    expect("and of the next", sweep(PAGES, 4096, 2, LOAD).missed[core][COLD][READ_DESCRIPTOR], 4);
    expect("and of another table", sweep(PAGES, 2 << 20, 2, LOAD).missed[core][COLD][READ_DESCRIPTOR], 5);
    // Eight neighbouring descriptors share a line.
    expect("lines of eight pages", sweep(PAGES, 4096 + LINE_BYTES, 8, LOAD).missed[core][COLD][MISS_SECOND], 8 + 3);
  }
}

static void test_blocks(void) {
  begin(linear_root());
  struct sums block = sweep(LINEAR, 4096 + LINE_BYTES, 500, LOAD);
  expect("a block is one translation", block.touched[TOUCHED_DATA_TRANSLATIONS], 1);
  for (int core = 0; core < CORE_COUNT; core++) {
    expect("a block is walked to once", block.missed[core][COLD][MISS_WALK], 1);
    expect("by two descriptors", block.missed[core][COLD][READ_DESCRIPTOR], 2);
  }
  expect("A72 holds it in pieces of 1 MiB", block.missed[0][COLD][MISS_TRANSLATION], 2);
  expect("A76 in one", block.missed[1][COLD][MISS_TRANSLATION], 1);
}

// The warm walks of one page of each of so many stacks, at a distance of so many pages.
static struct sums walks_of_stacks(uint64_t count, uint64_t distance) {
  uint64_t root = begin_tables();
  for (uint64_t stack = 0; stack < count; stack++) {
    map(root, PAGES + stack * distance * 4096, BASE + stack * (4096 + LINE_BYTES) / 4096 * 4096, 3);
  }
  begin(root);
  sweep(PAGES, distance * 4096, count, STORE);
  return sweep(PAGES, distance * 4096, count, STORE);
}

// A72's second-level TLB has 256 sets of 4 entries. Pages at a distance of 8 use 32 of the sets, 128 entries; at twice the
// distance half of that.
static void test_distance(void) {
  expect("128 stacks at 32 KiB", walks_of_stacks(128, 8).missed[0][WARM][MISS_WALK], 0);
  expect("129 stacks at 32 KiB", walks_of_stacks(129, 8).missed[0][WARM][MISS_WALK], 5);
  expect("128 stacks at 64 KiB", walks_of_stacks(128, 16).missed[0][WARM][MISS_WALK], 128);
  expect("64 stacks at 64 KiB", walks_of_stacks(64, 16).missed[0][WARM][MISS_WALK], 0);
  expect("tables of 128 stacks at 32 KiB", walks_of_stacks(128, 8).missed[0][COLD][READ_DESCRIPTOR], 128 + 2 + 1);
  expect("tables of 128 stacks at 64 KiB", walks_of_stacks(128, 16).missed[0][COLD][READ_DESCRIPTOR], 128 + 4 + 1);
}

static void test_invalidation(void) {
  uint64_t root = begin_tables();
  map(root, PAGES, BASE, 3);
  map(root, PAGES + 4096, BASE + 4096, 3);
  begin(root);
  sweep(PAGES, 4096, 2, LOAD);
  uint64_t table = *word(entry(*word(entry(root, PAGES, 1)) & ~4095ull, PAGES, 2)) & ~4095ull;
  uint64_t descriptor = *word(entry(table, PAGES, 3));
  *word(entry(table, PAGES, 3)) = 0;
  measurement_invalidate(&measurement, false);
  *word(entry(table, PAGES, 3)) = descriptor;
  struct sums again = sweep(PAGES, 4096, 2, LOAD);
  expect("the page that was invalid is walked to, the other not", again.missed[0][WARM][MISS_WALK], 1);
  measurement_invalidate(&measurement, true);
  expect("nothing outlives an invalidation of all", sweep(PAGES, 4096, 2, LOAD).missed[0][WARM][READ_DESCRIPTOR], 4);
}

static void test_samples(void) {
  begin(linear_root());
  measurement_begin(&measurement, false);
  touch(LINEAR, LOAD);
  touch(LINEAR + 8, STORE);
  touch(LINEAR + 63, LOAD);
  touch(LINEAR + 64, LOAD);
  touch(LINEAR + 4096, FETCH);
  measurement_call(&measurement);
  // What ends the measurement is not part of it.
  touch(LINEAR + 8192, STORE);
  uint64_t name = measurement_end(&measurement, 1);
  const uint64_t *touched = measurement_sums(&measurement, name)->touched;
  expect("loaded lines", touched[TOUCHED_LOADED], 2);
  expect("stored lines", touched[TOUCHED_STORED], 1);
  expect("data lines", touched[TOUCHED_DATA], 2);
  expect("code lines", touched[TOUCHED_CODE], 1);
  expect("translations of data", touched[TOUCHED_DATA_TRANSLATIONS], 1);
  expect("translations of code", touched[TOUCHED_CODE_TRANSLATIONS], 1);
  uint64_t sum = measurement_add(&measurement, measurement_add(&measurement, 0, name), name);
  expect("a sum of two", measurement_sums(&measurement, sum)->touched[TOUCHED_LOADED], 4);
  expect("what it was made of stays", measurement_sums(&measurement, name)->touched[TOUCHED_LOADED], 2);
  expect("operations", measurement_sums(&measurement, sum)->operations, 2);
}

int main(void) {
  test_replacement();
  test_caches();
  test_inclusion();
  test_translations();
  test_blocks();
  test_distance();
  test_invalidation();
  test_samples();
  printf("%s\n", failures ? "failed" : "the memory model gives the known answers");
  return failures != 0;
}
