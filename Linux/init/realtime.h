// Experiments with threads that have a real-time policy.
#pragma once

#include "giving.h"

// realtime COUNT: processes that become real-time ones, and sleep: their stacks are whole, stay so when memory is short, and no
// frames are needed when they go deep; nor for processes that they fork, nor for one that is switched from with a lock.
static void realtime(char **arguments) {
  long count = number(arguments[0]);
  int ends[2];
  check("pipe", open_pipe(ends));
  for (long i = 0; i < count; i++) {
    if (!fork_child(i)) continue;
    char byte;
    check("policy", make_realtime(0));
    check("read", read_file(ends[0], &byte, 1) != 1);
    long child = fork();
    check("fork", child < 0);
    if (child == 0) exit(command_number("recurse ", 12288, 1) != 0);
    exit(command_number("recurse ", 12288, 1) || wait_for_all(&child, 1));
  }
  for (long i = 0; i < count; i++)
    while (!is_in_state(live[i], 'S')) sleep_milliseconds(1);
  show_lending("realtimeAsleep");
  for (int drops = 0; drops < 20; drops++) drop_caches(), sleep_milliseconds(20);
  show_lending("realtimeShortage");
  check("freeze", command("freeze"));
  wake_by_bytes(count, ends[1]);
  long failed = wait_for_all(live, count);
  show_lending("realtimeFrozen");
  check("thaw", command("thaw"));
  if (fork_child(0)) exit(command("switch-with-lock") != 0);
  failed += wait_for_all(live, 1);
  begin("realtime");
  put_member(&line, "failed", failed);
  end();
}

// The instructions from a thread's wakeup, by a byte, to its first instruction. It becomes a real-time one while it sleeps, so its
// stack is not whole yet; if it has to wait for frames, they are there again when it has waited, and what counts begins then.
static long wakeup_instructions(int has_to_wait) {
  volatile unsigned int *at = (volatile unsigned int *)map_shared_memory(4096);
  int ends[2];
  check("pipe", open_pipe(ends));
  if (fork_child(0)) {
    char byte;
    check("read", read_file(ends[0], &byte, 1) != 1);
    *at = instructions();
    exit(0);
  }
  while (!is_in_state(live[0], 'S')) sleep_milliseconds(1);
  check("policy", make_realtime(live[0]));
  unsigned int before;
  if (has_to_wait) {
    check("freeze", command("freeze"));
    check("empty-set", command("empty-set"));
    wake_by_bytes(1, ends[1]);
    await_figure("waiting", 1);
    before = instructions();
    check("thaw", command("thaw"));
  } else {
    before = instructions();
    wake_by_bytes(1, ends[1]);
  }
  check("wait", wait_for_all(live, 1));
  return *at - before;
}

// realtime-costs: what it costs a thread that becomes a real-time one to wait for frames, once.
static void realtime_costs(void) {
  check("count-instructions", command("count-instructions"));
  wakeup_instructions(0), wakeup_instructions(1);
  long at_once = wakeup_instructions(0), after_waiting = wakeup_instructions(1);
  begin("realtimeCosts");
  put_member(&line, "wakeupInstructions", at_once);
  put_member(&line, "wakeupAfterWaitingInstructions", after_waiting);
  end();
}
