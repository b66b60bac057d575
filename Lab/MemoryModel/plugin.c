// The memory model as a plugin of QEMU: follows the fetches, loads and stores of the machine's one CPU.
//
//   -plugin memory-model.so,memory=FILE,base=0x40000000
//
// FILE is the machine's RAM (-object memory-backend-file,share=on), which begins at the physical address `base`. With probe=on
// QEMU ends at once: it has plugins of this version.
//
// A measurement lies between two calls of a function of the kernel, which reads its instruction counter:
//
//   bl reading   reads, and returns --> | operation | --> bl reading
//
// So it needs no instruction of its own. All that the kernel tells besides, it tells by a hint (see memory_model_page.h).
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../Kernel/Sources/KernelAssembly/include/memory_model_page.h"
#include "instructions.h"
#include "measurement.h"
#include "plugin_interface.h"

PLUGIN_EXPORT int qemu_plugin_version = PLUGIN_INTERFACE_VERSION;

static struct measurement measurement;

// Where the CPU is between the two calls.
static enum {
  BESIDE,         // outside any measurement
  AWAITS_CALL,    // the next call is of the function to be learnt
  AWAITS_ENTRY,   // the next instruction is its first
  AWAITS_RETURN,  // the first reading runs
  MEASURES,       // the operation runs
} place;
static uint64_t reading, last_call, return_address;
static struct memory_model_page *page;
static bool is_commanded, invalidates, invalidates_all;
static uint64_t walks, wrong_walks;

static bool is_upper(uint64_t address) { return address >> 55 & 1; }

static void *context(uint64_t address) { return (void *)(uintptr_t)address; }
static uint64_t address_in(void *context) { return (uint64_t)(uintptr_t)context; }

static void on_fetch(unsigned int cpu, void *at) {
  (void)cpu;
  bool walked = false;
  if (measurement.is_attached) measurement_access(&measurement, address_in(at), FETCH, &walked);
}

// The first instruction of a block that is executed as a whole; what a call leads to, or returns to, is one.
static void on_block(unsigned int cpu, void *at) {
  uint64_t address = address_in(at);
  if (place == AWAITS_ENTRY) {
    reading = address;
    place = BESIDE;
  } else if (address == reading && reading) {
    if (place == MEASURES && !measurement.is_long) {
      place = BESIDE;
      page->latest = measurement_end(&measurement, 1);
    } else if (place != MEASURES) {
      place = AWAITS_RETURN;
      return_address = last_call + 4;
    }
  } else if (place == AWAITS_RETURN && address == return_address) {
    place = MEASURES;
    measurement_begin(&measurement, false);
  }
  on_fetch(cpu, at);
}

static void on_call(unsigned int cpu, void *at) {
  (void)cpu;
  if (place == AWAITS_CALL) place = AWAITS_ENTRY;
  last_call = address_in(at);
  if (place == MEASURES) measurement_call(&measurement);
}

static void on_invalidation(unsigned int cpu, void *of_all) {
  (void)cpu;
  invalidates = true;
  invalidates_all |= of_all != NULL;
}

static void on_barrier(unsigned int cpu, void *unused) {
  (void)cpu, (void)unused;
  if (invalidates) measurement_invalidate(&measurement, invalidates_all);
  invalidates = invalidates_all = false;
}

static void on_hint(unsigned int cpu, void *unused) {
  (void)cpu, (void)unused;
  is_commanded = true;
}

static void carry_out(void) {
  page->is_present = 1;
  switch ((enum memory_model_command)page->command) {
    case MEMORY_MODEL_ATTACH:
      measurement_attach(&measurement, page->root, (uint32_t)page->address_bits);
      break;
    case MEMORY_MODEL_LEARN_READING: place = AWAITS_CALL; break;
    case MEMORY_MODEL_ADD: page->answer = measurement_add(&measurement, page->first, page->second); break;
    case MEMORY_MODEL_WRITE: {
      const struct sums *sums = measurement_sums(&measurement, page->first);
      if (sums) sums_write(sums, "memory", page->first, stdout);
      break;
    }
    case MEMORY_MODEL_BEGIN:
      place = MEASURES;
      measurement_begin(&measurement, true);
      break;
    case MEMORY_MODEL_END:
      if (place != MEASURES) break;
      measurement_call(&measurement);
      measurement_end(&measurement, page->first);
      place = BESIDE;
      break;
  }
  page->latest = measurement.sums_count;
}

// The page is found by the address that is loaded from.
static void on_command(memory_information information, uint64_t address) {
  is_commanded = false;
  struct memory *memory = &measurement.tables.memory;
  struct qemu_plugin_hwaddr *place_of_page = qemu_plugin_get_hwaddr(information, address);
  if (!place_of_page || qemu_plugin_hwaddr_is_io(place_of_page)) return;
  uint64_t physical = qemu_plugin_hwaddr_phys_addr(place_of_page);
  if (physical < memory->base || physical - memory->base > memory->byte_count - sizeof *page) return;
  struct memory_model_page *found = (void *)(memory->bytes + (physical - memory->base));
  if (found->magic != MEMORY_MODEL_MAGIC) return;
  page = found;
  carry_out();
}

static void on_access(unsigned int cpu, memory_information information, uint64_t address, void *unused) {
  (void)cpu, (void)unused;
  if (is_commanded) on_command(information, address);
  if (!measurement.is_attached || !is_upper(address)) return;
  bool walked = false;
  bool is_store = qemu_plugin_mem_is_store(information);
  const struct translation *translation =
      measurement_access(&measurement, address, is_store ? STORE : LOAD, &walked);
  if (!translation || !walked) return;
  // QEMU's own walk leads to the same address, or the tables are not what the CPU uses.
  walks++;
  struct qemu_plugin_hwaddr *found = qemu_plugin_get_hwaddr(information, address);
  if (!found || qemu_plugin_hwaddr_phys_addr(found) != translation->physical) wrong_walks++;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  uint64_t line = 0;
  for (size_t index = 0; index < qemu_plugin_tb_n_insns(block); index++) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, index);
    uint64_t address = qemu_plugin_insn_vaddr(instruction);
    if (!is_upper(address)) return;
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
    execution_callback callback = NULL;
    void *argument = context(address);
    if (index == 0 || address / LINE_BYTES != line) {
      qemu_plugin_register_vcpu_insn_exec_cb(
          instruction, index == 0 ? on_block : on_fetch, PLUGIN_NO_REGISTERS, argument);
    }
    line = address / LINE_BYTES;
    if (is_call(word)) callback = on_call;
    if (is_hint(word, MEMORY_MODEL_HINT)) callback = on_hint;
    if (is_synchronization_barrier(word)) callback = on_barrier;
    if (is_invalidation(word)) {
      callback = on_invalidation;
      argument = is_invalidation_of_all(word) ? context(1) : NULL;
    }
    if (callback) qemu_plugin_register_vcpu_insn_exec_cb(instruction, callback, PLUGIN_NO_REGISTERS, argument);
    qemu_plugin_register_vcpu_mem_cb(instruction, on_access, PLUGIN_NO_REGISTERS, PLUGIN_LOADS_AND_STORES, NULL);
  }
}

static void on_end(plugin_id id, void *unused) {
  (void)id, (void)unused;
  if (!measurement.is_attached) return;
  printf(
      "{\"type\":\"memoryModel\",\"walks\":%" PRIu64 ",\"wrongWalks\":%" PRIu64 ",\"unmapped\":%" PRIu64
      ",\"operations\":%" PRIu64 "}\n",
      walks, wrong_walks, measurement.unmapped_count, measurement.sums_count);
  fflush(stdout);
}

static int refuse(const char *reason) {
  fprintf(stderr, "memory model: %s\n", reason);
  return 1;
}

PLUGIN_EXPORT int qemu_plugin_install(
    plugin_id id, const struct plugin_information *information, int count, char **arguments) {
  const char *file = NULL;
  struct memory memory = {0};
  for (int index = 0; index < count; index++) {
    const char *argument = arguments[index];
    if (strcmp(argument, "probe=on") == 0) exit(0);
    if (strncmp(argument, "memory=", 7) == 0) file = argument + 7;
    if (strncmp(argument, "base=", 5) == 0) memory.base = strtoull(argument + 5, NULL, 0);
  }
  if (!information->is_whole_machine || strcmp(information->target, "aarch64") != 0) {
    return refuse("the machine is no arm64");
  }
  if (information->machine.cpus != 1) return refuse("the model is of one CPU");
  if (!file || !memory.base) return refuse("memory= and base= say where the machine's RAM is");
  int descriptor = open(file, O_RDWR);
  struct stat status;
  if (descriptor < 0 || fstat(descriptor, &status) != 0) return refuse("the machine's RAM cannot be read");
  memory.byte_count = (uint64_t)status.st_size;
  memory.bytes = mmap(NULL, memory.byte_count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  close(descriptor);
  if (memory.bytes == MAP_FAILED) return refuse("the machine's RAM cannot be mapped");
  measurement_make(&measurement, memory);
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_end, NULL);
  return 0;
}
