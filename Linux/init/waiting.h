// Experiments with who waits for frames, and how: each makes the moment happen that a mistake would need.
#pragma once

#include "giving.h"

static void fork_one_that_goes_deep(long i, int cpu) {
  if (fork_child(i)) exit((cpu >= 0 && pin_to_cpu(cpu) < 0) || command_number("recurse ", 12288, 1));
}

// early-wakeup: of three threads on the second CPU, the first that waits is woken when it is in the queue, and before it sleeps.
static void early_wakeup(void) {
  int ends[2];
  check("pin", pin_to_cpu(0) < 0);
  check("pipe", open_pipe(ends));
  for (long i = 0; i < 3; i++) {
    if (!fork_child(i)) continue;
    char byte;
    exit(pin_to_cpu(1) < 0 || read_file(ends[0], &byte, 1) != 1 || command_number("recurse ", 12288, 1));
  }
  // Until they sleep.
  for (long i = 0; i < 3; i++)
    while (!is_in_state(live[i], 'S')) sleep_milliseconds(1);
  check("freeze", command("freeze"));
  check("wake-before-sleep", command("wake-before-sleep"));
  // The CPU has frames for two at most.
  wake_by_bytes(3, ends[1]);
  await_figure("waiting", 1);
  show_lending("earlyFrozen");
  check("thaw", command("thaw"));
  begin("early");
  put_member(&line, "failed", wait_for_all(live, 3));
  end();
}

static long queued(void) {
  check("queue", command("queue"));
  return number_in("/proc/kernelstacks", "\"queued\":");
}

static void show_queue(const char *type) {
  check("queue", command("queue"));
  begin(type);
  put_result(&line);
  end();
}

// queue-order COUNT: threads that wait: the first three are woken and find nothing. Then there are frames, but no thread is
// woken, and another comes that wants some.
static void queue_order(char **arguments) {
  long count = number(arguments[0]), ended = 0, failed = 0, waiting;
  check("freeze", command("freeze"));
  for (long i = 0; i < count; i++) fork_one_that_goes_deep(i, -1);
  // Some find frames that CPUs have at hand, and end.
  while (ended + queued() < count) {
    for (long i = 0; i < count; i++) {
      int status = 1;
      if (!live[i] || wait_if_ended(live[i], &status) == 0) continue;
      live[i] = 0;
      failed += status != 0;
      ended++;
    }
    sleep_milliseconds(1);
  }
  waiting = count - ended;
  show_queue("queueBefore");
  check("wake-in-turn", command_number("wake-in-turn ", 3, -1));
  while (queued() < waiting) sleep_milliseconds(1);
  show_queue("queueAfter");
  check("keep-waiting", command("keep-waiting"));
  check("thaw", command("thaw"));
  await_figure("pool", 32);
  fork_one_that_goes_deep(count, -1);
  while (queued() <= waiting && wait_if_ended(live[count], &(int){0}) == 0) sleep_milliseconds(1);
  show_queue("queueNewcomer");
  check("go-on", command("go-on"));
  for (long i = 0; i <= count; i++)
    if (live[i]) failed += wait_for_all(&live[i], 1);
  begin("queue");
  put_member(&line, "waited", waiting);
  put_member(&line, "failed", failed);
  end();
}

// wait-as STATE…: a thread waits for frames in each of these states, which it has to keep; 0 is a reader of RCU, 4096 one that
// waits for a lock of PREEMPT_RT. All that wait are woken meanwhile, as if what they wait for had come.
static void wait_as(char **arguments) {
  long failed = 0, states = 0;
  for (; *arguments; arguments++, states++) {
    int status;
    long has_ended;
    do {
      status = has_ended = 0;
      if (fork_child(0)) {
        long error = pin_to_cpu(0) < 0 ? -1 : command_number("wait-as ", number(*arguments), -1);
        exit(error == -11 /* EAGAIN: its stack is whole */ ? 2 : error != 0);
      }
      while (lending_figure("waiting") < 1 && !(has_ended = wait_if_ended(live[0], &status))) sleep_milliseconds(10);
    } while (has_ended && status == 2 << 8);
    check("wake-waiting", command("wake-waiting"));
    failed += lending_figure("waiting") != 1;
    check("thaw", command("thaw"));
    failed += wait_for_all(live, 1);
  }
  begin("waitAs");
  put_member(&line, "states", states);
  put_member(&line, "failed", failed);
  end();
}
