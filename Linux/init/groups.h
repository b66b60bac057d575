// Experiments with memory cgroups, which are charged for stacks, and with NUMA nodes.
#pragma once

#include "giving.h"

// Makes a memory cgroup.
static void make_group(void) {
  check("mount", mount("cgroup2", "/groups"));
  check("controller", write_words("/groups/cgroup.subtree_control", "+memory"));
  check("group", make_folder("/groups/one"));
}

// Its own stack stays charged to the group that it was made in. It is whole before, so that no page of it comes later.
static void join_group(void) {
  check("recurse", command_number("recurse ", 12288, 1));
  check("move", write_words("/groups/one/cgroup.procs", "0"));
}

static long bytes_in_group(void) { return number_in("/groups/one/memory.stat", "kernel_stack"); }

// Ends the processes that this one has forked in the group, then itself.
static void leave_group(long made) {
  reap_live(made);
  // A process is reaped a little before its stack goes out of the account. Not settled: stacks are to stay cached.
  sleep_milliseconds(100);
  put_member(&line, "stackBytesAfter", bytes_in_group());
  end();
  exit(0);
}

// groups LIVE: what a memory cgroup is charged for the stacks of LIVE processes in it, new and then cached, and what is
// left of that when they have ended.
static void groups(char **arguments) {
  long error, count = number(arguments[0]);
  make_group();
  for (int round = 0; round < 2; round++) {
    long founder = fork();
    if (founder == 0) {
      join_group();
      long made = fork_live(count, &error, 0);
      check("fork", error);
      begin(round == 0 ? "groupNew" : "groupCached");
      put_member(&line, "live", made);
      put_member(&line, "stackBytes", bytes_in_group());
      leave_group(made);
    }
    wait(0);
  }
}

// Forks children that have been so deep in their stacks, and wait to be killed. Returns when they wait.
static void fork_deep(long count, long depth) {
  for (long made = 0; made < count; made++) {
    if (fork_child(made)) {
      check("recurse", command_number("recurse ", depth, 1));
      // What it has kept is charged when it returns from this.
      sleep_milliseconds(1);
      for (;;) pause();
    }
  }
  sleep_milliseconds(500);
}

// groups-grown LIVE: what a memory cgroup is charged for the stacks of LIVE processes, before and after they have gone deep.
static void groups_grown(char **arguments) {
  long error, count = number(arguments[0]);
  make_group();
  if (fork() == 0) {
    join_group();
    long made = fork_live(count, &error, 0);
    check("fork", error);
    begin("groupIdle");
    put_member(&line, "stackBytes", bytes_in_group());
    end();
    reap_live(made);
    fork_deep(count, 12288);
    begin("groupGrown");
    put_member(&line, "stackBytes", bytes_in_group());
    leave_group(count);
  }
  wait(0);
}

// groups-steps LIVE: the same in two steps; and for processes that go deep while they are charged for a first step.
static void groups_steps(char **arguments) {
  long count = number(arguments[0]);
  make_group();
  for (int round = 0; round < 2; round++) {
    check("grow-when-charged", round ? command("grow-when-charged") : 0);
    if (fork() == 0) {
      int ends[2];
      join_group();
      check("pipe", open_pipe(ends));
      for (long i = 0; i < count; i++) {
        if (!fork_child(i)) continue;
        char byte;
        check("recurse", command_number("recurse ", 5000, 1));
        sleep_milliseconds(1);
        if (!round && read_file(ends[0], &byte, 1) == 1) check("recurse", command_number("recurse ", 12288, 1));
        sleep_milliseconds(1);
        for (;;) pause();
      }
      sleep_milliseconds(500);
      if (!round) {
        begin("groupStep");
        put_member(&line, "stackBytes", bytes_in_group());
        end();
        wake_by_bytes(count, ends[1]);
        sleep_milliseconds(500);
      }
      begin(round ? "groupDeeper" : "groupSteps");
      put_member(&line, "stackBytes", bytes_in_group());
      leave_group(count);
    }
    wait(0);
  }
}

// groups-given LIVE: what it is charged when they have given pages back.
static void groups_given(char **arguments) {
  long count = number(arguments[0]);
  make_group();
  if (fork() == 0) {
    join_group();
    fork_deep(count, 12288);
    begin("groupDeep");
    put_member(&line, "stackBytes", bytes_in_group());
    end();
    for (long tries = 0; tries < 100 && bytes_in_group() > count * 4096; tries++) drop_caches(), sleep_milliseconds(20);
    begin("groupGiven");
    put_member(&line, "stackBytes", bytes_in_group());
    leave_group(count);
  }
  wait(0);
}

// exit-deep LIVE: processes of a memory cgroup that go deep when no charge can be put off any more.
static void exit_deep(char **arguments) {
  long error, count = number(arguments[0]);
  make_group();
  check("grow-at-exit", command("grow-at-exit"));
  for (int round = 0; round < 2; round++) {
    if (round) show_figures("exitBefore"), show_lending("exitLendingBefore");
    if (fork() == 0) {
      join_group();
      reap_live(fork_live(count, &error, 0));
      exit(0);
    }
    wait(0);
  }
  show_figures("exitAfter");
  show_lending("exitLending");
  begin("exit");
  put_member(&line, "stackBytesAfter", bytes_in_group());
  end();
}

// nodes LIVE DEPTH: on which node the stacks of LIVE processes lie that a CPU of each node has forked, and that have been so deep.
static void nodes(char **arguments) {
  const char *figures[2] = {"/sys/devices/system/node/node0/meminfo", "/sys/devices/system/node/node1/meminfo"};
  long error = 0, count = number(arguments[0]), depth = number(arguments[1]);
  for (int cpu = 0; cpu < 2; cpu++) {
    check("pin", pin_to_cpu(cpu) < 0);
    long before[2] = {number_in(figures[0], "KernelStack:"), number_in(figures[1], "KernelStack:")};
    if (depth) fork_deep(count, depth);
    else fork_live(count, &error, 0);
    check("fork", error);
    begin(cpu == 0 ? "node0" : "node1");
    put_member(&line, "onNode0KiB", number_in(figures[0], "KernelStack:") - before[0]);
    put_member(&line, "onNode1KiB", number_in(figures[1], "KernelStack:") - before[1]);
    end();
    reap_live(count);
    command("settle");
  }
}
