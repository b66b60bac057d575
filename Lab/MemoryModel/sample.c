// Distinct lines and translations of an operation, and its misses.
#include "sample.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct seen {
  uint64_t key;
  uint32_t number;
  // Bit n: as the kind n of `touched`.
  uint32_t kinds;
};

enum { KEY_LINE, KEY_DATA_PIECE, KEY_CODE_PIECE, KEY_KINDS };

static void *grown(void *memory, size_t byte_count) {
  void *larger = realloc(memory, byte_count);
  if (larger) return larger;
  fprintf(stderr, "memory model: no memory for %zu bytes\n", byte_count);
  exit(1);
}

void sample_begin(struct sample *sample) {
  memset(&sample->sums, 0, sizeof sample->sums);
  sample->pending_count = 0;
  sample->seen_count = 0;
  sample->number++;
}

static struct seen *find(struct sample *sample, uint64_t key) {
  size_t mask = sample->seen_capacity - 1;
  size_t at = (size_t)((key * 0x9e3779b97f4a7c15ull) >> 24) & mask;
  while (sample->seen[at].number == sample->number && sample->seen[at].key != key) at = (at + 1) & mask;
  return &sample->seen[at];
}

static void make_room(struct sample *sample) {
  if (2 * (sample->seen_count + 2) <= sample->seen_capacity) return;
  struct seen *old = sample->seen;
  size_t capacity = sample->seen_capacity;
  sample->seen_capacity = capacity ? 2 * capacity : 4096;
  sample->seen = grown(NULL, sample->seen_capacity * sizeof *old);
  memset(sample->seen, 0, sample->seen_capacity * sizeof *old);
  for (size_t at = 0; at < capacity; at++) {
    if (old[at].number == sample->number) *find(sample, old[at].key) = old[at];
  }
  free(old);
}

// Counts a line or a piece where it was not seen as such before.
static void touch(struct sample *sample, uint64_t key, uint32_t kinds) {
  make_room(sample);
  struct seen *seen = find(sample, key);
  if (seen->number != sample->number) {
    *seen = (struct seen){.key = key, .number = sample->number};
    sample->seen_count++;
  }
  for (uint32_t kind = 0; kind < TOUCHED_KINDS; kind++) {
    if (kinds >> kind & ~seen->kinds >> kind & 1) sample->sums.touched[kind]++;
  }
  seen->kinds |= kinds;
}

void sample_add(struct sample *sample, const struct event *event) {
  if (sample->pending_count == sample->pending_capacity) {
    sample->pending_capacity = sample->pending_capacity ? 2 * sample->pending_capacity : 1024;
    sample->pending = grown(sample->pending, sample->pending_capacity * sizeof *sample->pending);
  }
  sample->pending[sample->pending_count++] = *event;
}

void sample_take(struct sample *sample) {
  for (size_t at = 0; at < sample->pending_count; at++) {
    const struct event *event = &sample->pending[at];
    bool is_code = event->access == FETCH;
    uint32_t line_kinds = is_code ? 1 << TOUCHED_CODE
                                  : 1 << TOUCHED_DATA | 1 << (event->access == STORE ? TOUCHED_STORED : TOUCHED_LOADED);
    touch(sample, event->line * KEY_KINDS + KEY_LINE, line_kinds);
    touch(
        sample, event->piece * KEY_KINDS + (is_code ? KEY_CODE_PIECE : KEY_DATA_PIECE),
        1 << (is_code ? TOUCHED_CODE_TRANSLATIONS : TOUCHED_DATA_TRANSLATIONS));
    for (int core = 0; core < CORE_COUNT; core++) {
      for (int state = 0; state < STATES; state++) {
        for (int kind = 0; kind < MISS_KINDS; kind++) {
          sample->sums.missed[core][state][kind] += event->missed[core][state][kind];
        }
      }
    }
  }
  sample->pending_count = 0;
}

void sample_drop(struct sample *sample) { sample->pending_count = 0; }

void sums_add(struct sums *sums, const struct sums *others) {
  sums->operations += others->operations;
  sums->single_operations += others->single_operations;
  for (int kind = 0; kind < TOUCHED_KINDS; kind++) sums->touched[kind] += others->touched[kind];
  for (int core = 0; core < CORE_COUNT; core++) {
    for (int state = 0; state < STATES; state++) {
      for (int kind = 0; kind < MISS_KINDS; kind++) {
        sums->missed[core][state][kind] += others->missed[core][state][kind];
      }
    }
  }
}

static const char *const touched_names[TOUCHED_KINDS] = {
    "loadedLines", "storedLines", "dataLines", "codeLines", "dataTranslations", "codeTranslations"};
static const char *const state_names[STATES] = {"warm", "cold"};

static void write_mean(const char *between, const char *name, uint64_t sum, uint64_t count, FILE *file) {
  fprintf(file, "%s\"%s\":%.3f", between, name, count ? (double)sum / (double)count : 0.0);
}

void sums_write(const struct sums *sums, const char *type, uint64_t number, FILE *file) {
  fprintf(file, "{\"type\":\"%s\",\"series\":%" PRIu64 ",\"operations\":%" PRIu64, type, number, sums->operations);
  bool are_single = sums->single_operations == sums->operations;
  for (int kind = 0; kind < TOUCHED_KINDS && are_single; kind++) {
    write_mean(",", touched_names[kind], sums->touched[kind], sums->operations, file);
  }
  fprintf(file, ",\"cores\":{");
  for (int core = 0; core < CORE_COUNT; core++) {
    fprintf(file, "%s\"%s\":{", core ? "," : "", cores[core].name);
    for (int state = 0; state < (are_single ? STATES : COLD); state++) {
      fprintf(file, "%s\"%s\":{", state ? "," : "", state_names[state]);
      for (int kind = 0; kind < MISS_KINDS; kind++) {
        const uint64_t *missed = sums->missed[core][state];
        write_mean(kind ? "," : "", miss_names[kind], missed[kind], sums->operations, file);
      }
      fprintf(file, "}");
    }
    fprintf(file, "}");
  }
  fprintf(file, "}}\n");
  fflush(file);
}
