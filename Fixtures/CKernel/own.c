// This kernel's own page allocator and page tables: frames in a list, addresses one after the other, tables when they are needed.
#include "board.h"
#include "frames.h"
#include "parts.h"

#define FRAMES (RAM_SIZE / 4096)
#define AREA_START VMALLOC_START
#define AREA_END (VMALLOC_START + (64ull << 30))

ks_cpu_record own_cpu_records[4];

// MARK: A lock of its own, also with interrupts off

static uint32_t lock_word;

static uint64_t lock(void) {
  uint64_t state;
  __asm__ volatile("mrs %0, daif\n\tmsr daifset, #3" : "=r"(state)::"memory");
  while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE)) __asm__ volatile("yield");
  return state;
}

static void unlock(uint64_t state) {
  __atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
  __asm__ volatile("msr daif, %0" ::"r"(state) : "memory");
}

// MARK: Mistakes on request

static enum own_mistake mistake;
static uint64_t mistake_at, calls;

void own_err(enum own_mistake which, uint64_t at) {
  mistake = which;
  mistake_at = at;
  calls = 0;
}

uint64_t own_calls(void) { return calls; }

// Whether this call, of which there is one more now, is the one; of refusals, also the later ones.
static bool errs(enum own_mistake which) {
  return mistake == which && (calls == mistake_at || (which == OWN_REFUSES && calls > mistake_at));
}

// MARK: The library's locks, which the linker has taken from here

static uint32_t held[4];
static uint64_t sleeping_calls, calls_with_lock;

#if OWN_FRAMES
uintptr_t ks_machine_lock(uint64_t *word) {
  uintptr_t state = ks_machine_disable_interrupts();
  while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE)) __asm__ volatile("yield");
  held[ks_machine_cpu()]++;
  return state;
}

void ks_machine_unlock(uint64_t *word, uintptr_t state) {
  held[ks_machine_cpu()]--;
  __atomic_store_n(word, 0, __ATOMIC_RELEASE);
  ks_machine_restore_interrupts(state);
}
#endif

// A function of this kernel may sleep only where this CPU holds no lock of the library.
static void note_call(bool may_sleep) {
  bool holds = held[ks_machine_cpu()] > 0;
  must(!may_sleep || !holds, "a lock of the library is held where the kernel may sleep");
  if (may_sleep) __atomic_fetch_add(&sleeping_calls, 1, __ATOMIC_RELAXED);
  if (holds) __atomic_fetch_add(&calls_with_lock, 1, __ATOMIC_RELAXED);
}

void show_locks(void) {
  for (int cpu = 0; cpu < 4; cpu++) must(held[cpu] == 0, "a lock is still held");
  say("{\"type\":\"locks\",\"mayHaveSlept\":%u,\"underLocks\":%u}", sleeping_calls, calls_with_lock);
}

// MARK: Frames

static uint64_t first_free[NODES], free_count, last_given;
static bool is_used[FRAMES], is_filled;

int frame_node(uint64_t physical) { return (int)((physical - RAM_START) * NODES / RAM_SIZE); }

__attribute__((unused)) static int node_of(void *context, uint64_t physical) {
  (void)context;
  return frame_node(physical);
}

static void fill(void) {
  for (uint64_t physical = RAM_START + RAM_SIZE - 4096; physical >= ((uint64_t)image_end + 4095) / 4096 * 4096; physical -= 4096) {
    *(uint64_t *)linear_address(physical) = first_free[frame_node(physical)];
    first_free[frame_node(physical)] = physical;
    free_count++;
  }
  is_filled = true;
}

static void clear(uint64_t physical) {
  uint64_t *words = linear_address(physical);
  for (int index = 0; index < 512; index++) words[index] = 0;
}

// A frame of a node, or of another if that has none.
static uint64_t take_on(int node) {
  uint64_t state = lock();
  if (!is_filled) fill();
  uint64_t *first = &first_free[node];
  for (int other = 0; other < NODES && !*first; other++) first = &first_free[other];
  uint64_t physical = *first;
  if (physical) {
    *first = *(uint64_t *)linear_address(physical);
    free_count--;
    is_used[(physical - RAM_START) / 4096] = true;
  }
  unlock(state);
  return physical;
}

static uint64_t take(void) { return take_on((int)ks_machine_node()); }

static void give(uint64_t physical) {
  must(physical % 4096 == 0 && physical >= RAM_START && physical < RAM_START + RAM_SIZE, "no frame was given back");
  uint64_t state = lock();
  must(is_used[(physical - RAM_START) / 4096], "a frame was given back twice");
  is_used[(physical - RAM_START) / 4096] = false;
  *(uint64_t *)linear_address(physical) = first_free[frame_node(physical)];
  first_free[frame_node(physical)] = physical;
  free_count++;
  unlock(state);
}

static uint64_t allocate(void *context, int node, bool cleared, bool may_sleep) {
  must(context == &own_frames && node >= KS_ANY_NODE && node < NODES, "arguments of the library");
  note_call(may_sleep);
  __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
  if (errs(OWN_REFUSES)) return 0;
  if (errs(OWN_GIVES_HIGH)) return 1ull << 50;
  if (errs(OWN_GIVES_UNMAPPED)) return 0x4000000000;
  if (errs(OWN_GIVES_TWICE) && last_given && is_used[(last_given - RAM_START) / 4096]) return last_given;
  if (errs(OWN_GIVES_ODD)) return RAM_START + 8;
  if (node == KS_ANY_NODE) node = (int)ks_machine_node();
  uint64_t physical = take_on(node);
  // Freed stacks are memory, too.
  if (!physical && ks_reclaim(1) > 0) physical = take_on(node);
  if (!physical) return 0;
  must(!cleared || !own_frames.leaves_clearing, "a frame is to be cleared by a kernel that leaves it");
  if (cleared) clear(physical);
  if (errs(OWN_GIVES_DIRTY)) ((uint64_t *)linear_address(physical))[511] = 1;
  last_given = physical;
  return physical;
}

static void release_frame(void *context, uint64_t physical) {
  must(context == &own_frames, "arguments of the library");
  note_call(false);
  give(physical);
}

__attribute__((unused)) static uint64_t total(void *context) {
  (void)context;
  return FRAMES;
}

__attribute__((unused)) static uint64_t count_free(void *context) {
  (void)context;
  return free_count;
}

const ks_frame_functions own_frames = {
    .context = (void *)&own_frames,
    .allocate = allocate,
    .free = release_frame,
    .total = NODES == 1 ? total : NULL,
    .free_count = NODES == 1 ? count_free : NULL,
    .node_of = NODES == 1 ? NULL : node_of,
    .leaves_clearing = NODES > 1,
    .node_count = NODES};

// MARK: Addresses and tables

#define LEVELS (ADDRESS_BITS == 48 ? 4 : 3)

extern uint64_t kernel_table[512];
static uintptr_t area_end = AREA_START;

// The entry of an address in the table of a level, from the root, which is 0; null: a table is missing, and is not to be or cannot
// be built. Nobody else changes tables meanwhile.
static volatile uint64_t *entry_of(uintptr_t address, int level, bool builds) {
  volatile uint64_t *table = (volatile uint64_t *)((uintptr_t)kernel_table + LINEAR_MAP_OFFSET);
  for (int upper = 0;; upper++) {
    volatile uint64_t *entry = &table[address >> (12 + 9 * (LEVELS - 1 - upper)) & 511];
    if (upper == level) return entry;
    if (!(*entry & 1)) {
      uint64_t physical = builds ? take() : 0;
      if (!physical) return NULL;
      clear(physical);
      // Another CPU may have built the same table meanwhile.
      uint64_t empty = 0;
      if (!__atomic_compare_exchange_n(entry, &empty, physical | 3, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) give(physical);
      __asm__ volatile("dsb ishst\n\tisb" ::: "memory");
    }
    table = linear_address(*entry & 0x0000fffffffff000);
  }
}

static uintptr_t reserve(void *context, size_t size, size_t alignment, size_t phase) {
  must(context == &own_addresses, "arguments of the library");
  note_call(true);
  __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
  if (errs(OWN_REFUSES)) return 0;
  if (errs(OWN_LOW_AREA)) return alignment + phase;
  uint64_t state = lock();
  uintptr_t address = ((area_end - phase + alignment - 1) & ~(alignment - 1)) + phase;
  bool fits = address + size <= AREA_END;
  if (fits) area_end = address + size;
  unlock(state);
  if (errs(OWN_UNALIGNED_AREA)) return address + 4096;
  return fits ? address : 0;
}

__attribute__((unused)) static void release_addresses(void *context, uintptr_t address) {
  (void)context;
  // Addresses of the area that was reserved last are used anew.
  uint64_t state = lock();
  if (address < area_end && area_end - address < 1 << 30) area_end = address;
  unlock(state);
}

static uint64_t entry(void *context, uintptr_t address, int node) {
  (void)node;
  must(context == &own_addresses, "arguments of the library");
  note_call(true);
  __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
  if (errs(OWN_REFUSES)) return 0;
  volatile uint64_t *place = entry_of(address, LEVELS - 1, true);
  if (!place) return 0;
  uint64_t physical = (uintptr_t)place - LINEAR_MAP_OFFSET;
  if (errs(OWN_NEXT_ENTRY)) return physical + 8;
  if (errs(OWN_USED_TABLE)) return (uintptr_t)kernel_table + (physical & 4095);
  return physical;
}

__attribute__((unused)) static size_t free_tables(void *context, uintptr_t address, size_t size) {
  (void)context;
  size_t count = 0;
  for (uintptr_t next = address; next < address + size; next += 2 << 20) {
    volatile uint64_t *entry = entry_of(next, LEVELS - 2, false);
    if (!entry || !(*entry & 1)) continue;
    uint64_t table = *entry & 0x0000fffffffff000;
    for (int index = 0; index < 512; index++) {
      must(((uint64_t *)linear_address(table))[index] == 0, "a table in use was to be freed");
    }
    *entry = 0;
    __asm__ volatile("dsb ishst\n\ttlbi vaae1is, %0\n\tdsb ish\n\tisb" ::"r"(next << 8 >> 20) : "memory");
    give(table);
    count++;
  }
  return count;
}

const ks_address_functions own_addresses = {
    .context = (void *)&own_addresses,
    .reserve = reserve,
    .entry = entry,
#if NODES == 1
    .release = release_addresses,
    .free_tables = free_tables,
#endif
};

// MARK: What the rest of this kernel calls

ks_code initialize(const ks_configuration *configuration, ks_error *error) {
#if OWN_FRAMES && OWN_ADDRESSES
  return ks_init_with_addresses(configuration, &own_frames, &own_addresses, error);
#elif OWN_FRAMES
  return ks_init_with_frames(configuration, &own_frames, error);
#else
  return ks_init(configuration, error);
#endif
}

#if OWN_FRAMES
uint64_t frame_take(void) {
  uint64_t physical = take();
  if (!physical && ks_reclaim(1) > 0) physical = take();
  return physical;
}
void frame_give(uint64_t physical) { give(physical); }
uint64_t frame_count_free(void) {
  if (!is_filled) give(take());
  return free_count;
}

// Memory for the records of each allocator of stacks, the README's example among them. The linker has these functions called in
// place of the library's.
#define BLOCKS 40
#define BLOCK_SIZE 65536
static struct {
  _Alignas(64) char bytes[BLOCK_SIZE];
} blocks[BLOCKS];
static bool is_block_used[BLOCKS];

ks_code __wrap_ks_stacks_make(ks_stacks *stacks, const ks_stack_configuration *configuration, ks_error *error) {
  if (!configuration || configuration->records) return __real_ks_stacks_make(stacks, configuration, error);
  ks_stack_configuration with_records = *configuration;
  int index = 0;
  while (index < BLOCKS && is_block_used[index]) index++;
  must(index < BLOCKS, "too many allocators for this kernel");
  with_records.records = blocks[index].bytes;
  with_records.records_size = BLOCK_SIZE;
  ks_code code = __real_ks_stacks_make(stacks, &with_records, error);
  is_block_used[index] = code == KS_OK;
  return code;
}

ks_code __wrap_ks_stacks_end(ks_stacks *stacks, ks_error *error) {
  char *records = stacks ? stacks->opaque : NULL;
  ks_code code = __real_ks_stacks_end(stacks, error);
  if (code == KS_OK) is_block_used[(records - blocks[0].bytes) / BLOCK_SIZE] = false;
  return code;
}
#else
uint64_t frame_take(void) { return ks_frames_allocate(0, KS_OTHER_USE, false, KS_ANY_NODE, NULL); }
void frame_give(uint64_t physical) { must(ks_frames_free(physical, 0, NULL) == KS_OK, "a frame of another use"); }
uint64_t frame_count_free(void) { return ks_memory_figures_of(KS_ANY_NODE).free_frames; }
#endif
