/* SPDX-License-Identifier: GPL-2.0 */
/* Where the stacks are (arena.c). */
#ifndef KERNELSTACKS_ARENA_H
#define KERNELSTACKS_ARENA_H

#include "record.h"

/* The record of the slot whose stack begins at an address; NULL where none has ever been. Called in any context. */
struct slot_record *kernelstacks_record_of(unsigned long stack);

/* Fills in the record of a stack that has just been handed out, and returns what fork.c is to know of it. */
struct vm_struct *kernelstacks_describe(unsigned long stack);

/* How many pages its tables and records take. */
unsigned long kernelstacks_arena_pages(void);

#endif
