// What the kernel and the memory model outside its machine (Lab/MemoryModel) agree on.
//
//   kernel                                              model
//     writes a command into the page
//     HINT #96, a no-operation, then a load of the page   carries the command out; answers in the page
//
// Where there is no model, the answers stay 0.
#ifndef MEMORY_MODEL_PAGE_H
#define MEMORY_MODEL_PAGE_H

#include <stdint.h>

// Unallocated in the space of hints, so it executes as NOP (Arm ARM C6.2 "HINT").
#define MEMORY_MODEL_HINT 96
#define MEMORY_MODEL_MAGIC 0x4c45444f4d4d454dull

enum memory_model_command {
  // Begins the model: the tables are those of `root`, with `address_bits` bits of address.
  MEMORY_MODEL_ATTACH = 1,
  // The next function called is the one that measurements begin and end with a call of.
  MEMORY_MODEL_LEARN_READING = 2,
  // Sums up what `first` and `second` name, sums or operations; `answer` names the sum. 0 names nothing.
  MEMORY_MODEL_ADD = 3,
  // Writes a line with the means of the sum `first` to the console.
  MEMORY_MODEL_WRITE = 4,
  // Operations begin that end with the command after it; they are `first` operations.
  MEMORY_MODEL_BEGIN = 5,
  MEMORY_MODEL_END = 6,
};

struct memory_model_page {
  uint64_t magic;
  uint64_t command, first, second, answer;
  uint64_t root, address_bits;
  uint64_t is_present;  // 1 once a model has answered
  uint64_t latest;      // names the operation that was measured last
};

#endif
