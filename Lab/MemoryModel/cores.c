// The figures of Arm's Technical Reference Manuals, and what is assumed where these are silent.
//
//   A72  Cortex-A72 MPCore Processor TRM, Arm 100095
//   A76  Cortex-A76 Core TRM, Arm 100798
//   N1   Neoverse N1, whose design is A76's: its caches by WikiChip, "Neoverse N1"; its TLBs are taken as A76's
//
//   first-level data cache    A72 2.1.1, 6.1: 32 KiB, 2 ways, LRU. A76 A6.1.2, N1: 64 KiB, 4 ways, pseudo-LRU
//   first-level code cache    A72 2.1.1, 6.1: 48 KiB, 3 ways, LRU. A76 A6.1.1, N1: 64 KiB, 4 ways, pseudo-LRU
//   second-level cache        A72 7.1: 512 KiB to 4 MiB, 16 ways, pseudo-LRU or pseudo-random; here 1 MiB, pseudo-LRU.
//                             A76 A7.1: 128 to 512 KiB, 8 ways; here 512 KiB. N1: up to 1 MiB, 8 ways; here
//                             1 MiB. All have the lines of the data cache, too (A72 7.1, A76 A7.1)
//   first-level TLBs          A72 5.2: 48 entries for code, 32 for data, of 4 KiB, 64 KiB or 1 MiB.
//                             A76 A5.2.1, A5.2.2: 48 and 48; code 4 KiB to 2 MiB and 32 MiB, data 4 KiB to 2 MiB
//                             and 512 MiB
//   second-level TLB          A72 5.2.3: 1,024 entries, 4 ways. A76 A5.2.3: 1,280 entries, 5 ways; it also holds
//                             addresses of tables
//   table walks               A72 5.4: descriptors are looked up in the second-level cache; assumed of the others
//
// Not published, and assumed: pseudo-LRU is a tree of bits; the policy of the second-level caches of A76 (its manual
// says "dynamic biased") and N1 is one, too; TLBs replace by LRU, and the low bits of the page or block number choose the
// set; A72's table walk caches, which 5.1 mentions, have 64 entries.
#include "cores.h"

#define KIB 1024

const struct core cores[CORE_COUNT] = {
    {.name = "cortex-a72",
     .data = {32 * KIB, 2, REPLACE_LRU},
     .code = {48 * KIB, 3, REPLACE_LRU},
     .second = {1024 * KIB, 16, REPLACE_TREE},
     .data_translations = 32,
     .code_translations = 48,
     .data_piece = {0, 20, 20, 12},
     .code_piece = {0, 20, 20, 12},
     .translations = 1024,
     .translation_ways = 4,
     .table_addresses = 64},
    {.name = "cortex-a76",
     .data = {64 * KIB, 4, REPLACE_TREE},
     .code = {64 * KIB, 4, REPLACE_TREE},
     .second = {512 * KIB, 8, REPLACE_TREE},
     .data_translations = 48,
     .code_translations = 48,
     .data_piece = {0, 29, 21, 12},
     .code_piece = {0, 25, 21, 12},
     .translations = 1280,
     .translation_ways = 5},
    {.name = "neoverse-n1",
     .data = {64 * KIB, 4, REPLACE_TREE},
     .code = {64 * KIB, 4, REPLACE_TREE},
     .second = {1024 * KIB, 8, REPLACE_TREE},
     .data_translations = 48,
     .code_translations = 48,
     .data_piece = {0, 29, 21, 12},
     .code_piece = {0, 25, 21, 12},
     .translations = 1280,
     .translation_ways = 5},
};
