// Experiments with exceptions where a page of the stack may be missing.
#pragma once

#include "giving.h"

enum { BREAK, INTERRUPT, USER_FAULT, REFUSED_FAULT, PUSH, EXCEPTIONS };

static long meet_in_process(long kind, long offset) {
  long child = fork();
  check("fork", child < 0);
  if (child == 0) exit(command_number("meet-exception ", kind, offset) != 0);
  return wait_for_all(&child, 1);
}

// edges: exceptions of each kind at each step of 16 bytes around each page edge of the stack, each in a new process.
static void edges(void) {
  long steps = 0, failed = 0;
  show_lending("edgesLendingBefore");
  for (long kind = 0; kind < EXCEPTIONS; kind++)
    for (long edge = 4096; edge < 16384; edge += 4096)
      for (long offset = edge - 1024; offset <= edge + 1024; offset += 16) {
        // A page of the user's takes some stack to get.
        if (kind == USER_FAULT && offset < 4096) continue;
        failed += meet_in_process(kind, offset);
        steps++;
      }
  show_lending("edgesLending");
  begin("edges");
  put_member(&line, "steps", steps);
  put_member(&line, "failed", failed);
  end();
}

// bottom FIRST LAST: an interrupt at each step of 16 bytes near the stack's end.
static void bottom(char **arguments) {
  long failed = 0;
  for (long offset = number(arguments[0]); offset <= number(arguments[1]); offset += 16)
    failed += meet_in_process(INTERRUPT, offset);
  begin("bottom");
  put_member(&line, "failed", failed);
  end();
}

// too-low OFFSET: a breakpoint that close to the stack's end is an overflow.
static void too_low(char **arguments) { meet_in_process(BREAK, number(arguments[0])); }
