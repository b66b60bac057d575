// All CPUs take and give stacks at once; each stack has one owner. Then pairs free the same stack at the same moment.
#include "board.h"
#include "parts.h"

#define CPUS 4
#define LIVE 24
#define TURNS 400
#define RACES 40

static ks_stacks *stacks;
static uint32_t cpu_count;
static uint32_t arrived, begun, ended;
static void (*work_of_all)(uint32_t cpu);
static void *volatile contested;
static uint32_t freed, refused;
static uint64_t turns_of_all;

static void wait_until(uint32_t *counter, uint32_t value) {
  while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < value) __asm__ volatile("yield");
}

// All CPUs meet; `round` counts from 1.
static void meet(uint32_t round) {
  __atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL);
  wait_until(&arrived, round * cpu_count);
}

static void take_and_give(uint32_t cpu) {
  uint64_t *owned[LIVE] = {0};
  uint64_t random = cpu + 1;
  size_t words = ks_stacks_geometry(stacks).size / 8;
  for (int turn = 0; turn < TURNS; turn++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    unsigned index = (unsigned)(random >> 33) % LIVE;
    uint64_t mark = (cpu + 1) << 16 | index;
    if (owned[index]) {
      for (size_t word = 0; word < words; word += 64) must(owned[index][word] == mark, "another owner wrote");
      must(ks_stack_free(stacks, owned[index], NULL) == KS_OK, "a free was refused");
      owned[index] = NULL;
    } else if ((owned[index] = ks_stack_allocate(stacks, KS_ANY_NODE, NULL))) {
      for (size_t word = 0; word < words; word += 64) {
        must(owned[index][word] == 0, "a stack was not zero");
        owned[index][word] = mark;
      }
    }
    ks_stacks_serve_reclaim(stacks);
    if (turn % 100 == 99) ks_stacks_reclaim(stacks, 64);
  }
  for (unsigned index = 0; index < LIVE; index++) {
    if (owned[index]) must(ks_stack_free(stacks, owned[index], NULL) == KS_OK, "a last free was refused");
  }
  __atomic_fetch_add(&turns_of_all, TURNS, __ATOMIC_RELAXED);
}

static void race(uint32_t cpu) {
  uint32_t round = 2;
  for (int turn = 0; turn < RACES; turn++) {
    if (cpu == 0) contested = ks_stack_allocate(stacks, KS_ANY_NODE, NULL);
    meet(round++);
    ks_code code = ks_stack_free(stacks, contested, NULL);
    must(code == KS_OK || code == KS_DOUBLE_FREE, "another refusal");
    __atomic_fetch_add(code == KS_OK ? &freed : &refused, 1, __ATOMIC_RELAXED);
    meet(round++);
  }
}

// Of which CPUs keep no freed stacks: the one that reclaims gets all.
static ks_stacks unkept;

static void free_unkept(void) {
  void *own[4];
  for (int index = 0; index < 4; index++) must((own[index] = ks_stack_allocate(&unkept, KS_ANY_NODE, NULL)), "no stack");
  for (int index = 0; index < 4; index++) must(ks_stack_free(&unkept, own[index], NULL) == KS_OK, "a stack was not freed");
}

static void take_and_race(uint32_t cpu) {
  take_and_give(cpu);
  meet(1);
  race(cpu);
  ks_stacks_serve_reclaim(stacks);
  free_unkept();
  // What a CPU has not freed when it stops, another does for it.
  void *left = cpu == 0 ? NULL : ks_stack_allocate(stacks, KS_ANY_NODE, NULL);
  if (left) must(ks_stack_free_when_left(stacks, left, NULL) == KS_OK, "a stack could not be left");
}

void other_cpu_main(uint32_t cpu) {
  ks_error error;
  must(ks_check_cpu(&error) == KS_OK, error.text);
  __atomic_fetch_add(&begun, 1, __ATOMIC_ACQ_REL);
  work_of_all(cpu);
  __atomic_fetch_add(&ended, 1, __ATOMIC_ACQ_REL);
}

// Starts the other CPUs, lets all of them work at once, and waits until they have ended.
void on_all_cpus(uint32_t cpus, void (*work)(uint32_t cpu)) {
  cpu_count = cpus;
  work_of_all = work;
  for (uint32_t cpu = 1; cpu < cpus; cpu++) must(start_cpu(cpu), "a CPU did not start");
  wait_until(&begun, cpus - 1);
  work(0);
  wait_until(&ended, cpus - 1);
}

void storm(ks_stacks *all, uint32_t cpus) {
  stacks = all;
  if (cpus < 2) return;
  ks_error error;
  ks_stack_configuration kind = ks_stack_defaults(KS_VMALLOC);
  kind.cached_per_cpu = 0;
  must(ks_stacks_make(&unkept, &kind, &error) == KS_OK, error.text);
  on_all_cpus(cpus, take_and_race);
  ks_stacks_reclaim(&unkept, SIZE_MAX);
  ks_stack_figures rest = ks_stacks_figures(&unkept);
  must(rest.made >= 4 && rest.cached == 0 && rest.retired == 0, "a CPU has kept a freed stack");
  must(ks_stacks_end(&unkept, &error) == KS_OK, error.text);
  for (uint32_t cpu = 1; cpu < cpus; cpu++) {
    ks_stacks_drain_cpu(stacks, cpu);
    if (!OWN_FRAMES) ks_frames_drain_cpu(cpu);
  }
  must(freed == RACES && refused == (cpus - 1) * RACES, "a stack was freed twice, or not at all");
  ks_stack_figures figures = ks_stacks_figures(stacks);
  must(figures.live == 0, "stacks were left over");
  say("{\"type\":\"storm\",\"cpus\":%u,\"turns\":%u,\"racesFreed\":%u,\"racesRefused\":%u,\"live\":%u}", (uint64_t)cpus,
      turns_of_all, (uint64_t)freed, (uint64_t)refused, figures.live);
}
