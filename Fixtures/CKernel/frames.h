// Where this kernel's frames come from. With FRAMES=library it gives RAM to the library, and asks it for frames. With FRAMES=own it
// has a page allocator, whose functions the library calls; with ADDRESSES=own page tables for stacks, too.
#pragma once

#include "kernel_stacks.h"

// ks_init, ks_init_with_frames or ks_init_with_addresses.
ks_code initialize(const ks_configuration *configuration, ks_error *error);

// A frame for this kernel; 0: there is none, freed stacks among them.
uint64_t frame_take(void);
void frame_give(uint64_t physical);
uint64_t frame_count_free(void);

// own.c
extern const ks_frame_functions own_frames;
extern const ks_address_functions own_addresses;
extern ks_cpu_record own_cpu_records[];

// What the functions do wrong from now on, at one call: the call that comes as the `at`-th.
enum own_mistake {
  OWN_NONE,
  OWN_REFUSES,         // this call and all later ones
  OWN_GIVES_ODD,       // a frame's address and 8
  OWN_GIVES_HIGH,      // 2^50
  OWN_GIVES_UNMAPPED,  // beyond the linear map
  OWN_GIVES_DIRTY,     // a frame that was not cleared
  OWN_GIVES_TWICE,     // the frame of the call before
  OWN_UNALIGNED_AREA, OWN_LOW_AREA,  // reserved addresses
  OWN_NEXT_ENTRY, OWN_USED_TABLE,    // entries
};
void own_err(enum own_mistake mistake, uint64_t at);
// How many calls there have been since.
uint64_t own_calls(void);
// The node of a frame: with two, each has half of RAM.
int frame_node(uint64_t physical);
// Says in how many calls this kernel might have slept, with no lock of the library held.
void show_locks(void);
