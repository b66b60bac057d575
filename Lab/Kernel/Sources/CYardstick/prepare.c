// The setup of the yardstick's records, in one block of memory.

#include "CYardstick.h"
#include "machine.h"
#include "records.h"

enum { GROUPS = 64, RECORDS = FRAMES + ORDERS, DEPOT = 256 };

// The parts, each of which begins on a cache line.
struct memory {
  _Alignas(64) struct yardstick yardstick;
  struct metadata metadata;
  struct cpu_share cpu;
  _Alignas(64) uint64_t depot[DEPOT];
  _Alignas(64) struct group groups[GROUPS];
  struct node_record node;
  struct cpu_lists lists;
  _Alignas(64) struct range_record range;
  _Alignas(64) struct frame_record records[RECORDS];
};

uint64_t yardstick_byte_count(void) { return sizeof(struct memory); }

void yardstick_prepare(struct yardstick *self, uint64_t first_frame, uint64_t first_window, const uint64_t *tables,
                       uint64_t group_count, uint64_t initial_pages, int tracks_dirty) {
  struct memory *memory = (struct memory *)self;
  struct frames *frames = &self->frames;
  *frames = (struct frames){memory->records, &memory->node, &memory->lists, &memory->range, &memory->range + 1, 1,
                            FRAMES, 1};
  memory->range = (struct range_record){first_frame, FRAMES, first_frame, 0};
  memory->node.list_heads = FRAMES;
  memory->node.pool_limit = FRAMES / 64;
  memory->node.total_frames = FRAMES;
  for (uint32_t order = 0; order < ORDERS; order++) {
    memory->records[FRAMES + order] = (struct frame_record){FRAMES + order, FRAMES + order, 0};
  }
  for (uint32_t index = 0; index < FRAMES; index++) memory->records[index].tag = INSIDE << 4;
  memory->records[0] = (struct frame_record){FRAMES + 10, FRAMES + 10, FREE << 4 | 10};
  memory->records[FRAMES + 10] = (struct frame_record){0, 0, 0};
  memory->node.non_empty_orders = 1 << 10;
  memory->node.free_blocks[10] = 1;
  memory->node.free_frames = FRAMES;

  self->metadata = &memory->metadata;
  struct control *control = CONTROL(self);
  struct shared *shared = SHARED(self);
  control->size = 16 << 10;
  control->stride_shift = 15;
  if (group_count > GROUPS) group_count = GROUPS;
  control->capacity = (int64_t)group_count * 64;
  control->group_shift = 6;
  control->first_window = first_window;
  control->first_stack = first_window + (16 << 10);
  control->group_span_shift = 21;
  control->group_span_mask = ((2u << 20) - 1) & ~0xfffu;
  control->marker_distance = -32;
  control->marker_offset = linear(0) + (uint64_t)control->marker_distance;
  control->cpu_stride = sizeof(struct cpu_share);
  control->first_record = (char *)&memory->cpu.record;
  control->initial_pages = (int64_t)initial_pages;
  control->initial_bytes = control->initial_pages << 12;
  control->cleared_bytes = tracks_dirty ? 0 : (uint32_t)control->initial_bytes;
  control->mapped_bits = tracks_dirty ? CLEAN | 1 : 1;
  control->strategy = initial_pages == 1 ? GROWING : VMALLOC;
  control->node_count = 1;
  control->first_initial_page = (uint32_t)(control->size - control->initial_bytes);
  control->first_initial_entry = control->first_initial_page >> 9;
  control->growth_distance = (int32_t)(control->first_initial_entry - 8 - control->marker_distance);
  control->stack_entry_bytes = control->size >> 9;
  control->initial_entry_offset = 32 + control->first_initial_entry;
  control->initial_marker_distance = -control->initial_entry_offset;
  control->window_entry_shift = 6;
  control->is_uniform = 1;
  control->cached_tag = initial_pages == 1 ? 1 << 10 : 0;
  control->exchange = MAGAZINE / 2;
  control->cached_stacks = MAGAZINE;
  control->depot_limit = DEPOT;
  control->depot = memory->depot;
  control->batch = BATCH;
  control->ring_mask = RING - 1;
  control->groups = memory->groups;
  memory->cpu.record.limit = MAGAZINE;
  memory->cpu.record.home_tag = control->cached_tag;
  shared->first_bare_table = -1;
  shared->lowest_retired = UINT64_MAX;
  shared->first_partial = group_count > 0 ? 0 : -1;
  for (uint64_t index = 0; index < group_count; index++) {
    memory->groups[index] = (struct group){tables[index], UINT64_MAX, index + 1 < group_count ? (int32_t)index + 1 : -1,
                                           (int32_t)index - 1, PARTIAL, 0};
  }
}
