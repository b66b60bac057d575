// Experiments with threads that sleep, whose stacks give pages back when memory is short.
#pragma once

#include "processes.h"

// A figure of the test's part about pages that are lent.
static long lending_figure(const char *key) {
  static struct text name;
  name.count = 0;
  put(&name, "\""), put(&name, key), put(&name, "\":");
  name.bytes[name.count] = 0;
  check("lending", command("lending"));
  return number_in("/proc/kernelstacks", name.bytes);
}

static void show_lending(const char *type) {
  check("lending", command("lending"));
  begin(type);
  put_result(&line);
  end();
}

// KernelStack as it is, without settling anything.
static void show_stacks(const char *type) {
  check("figures", command("figures"));
  begin(type);
  put_result(&line);
  end();
}

static void await_figure(const char *key, long least) {
  while (lending_figure(key) < least) sleep_milliseconds(10);
}

// All shrinkers give what they can. 4 keeps the kernel from saying so each time.
static void drop_caches(void) {
  check("drop", write_words("/proc/sys/vm/drop_caches", "4"));
  check("drop", write_words("/proc/sys/vm/drop_caches", "2"));
}

// The same again and again, for a thread gives only after a while of rest, until so many have as many pages as the key says.
static void drop_caches_until(const char *key, long least) {
  do {
    drop_caches();
    sleep_milliseconds(20);
  } while (lending_figure(key) < least);
}

static long wait_for_all(const long *processes, long count) {
  long failed = 0;
  for (long i = 0; i < count; i++) {
    int status = 1;
    failed += wait_for(processes[i], &status) != processes[i] || status != 0;
  }
  return failed;
}

// Processes that go deep, wait for a byte, go deep again, and end. Returns when they wait; a byte for each goes to `writer`.
static void fork_deep_twice(long count, int *writer) {
  int ends[2];
  check("pipe", open_pipe(ends));
  *writer = ends[1];
  for (long i = 0; i < count; i++) {
    if (!fork_child(i)) continue;
    char byte;
    if (command_number("recurse ", 12288, 1)) exit(1);
    if (read_file(ends[0], &byte, 1) != 1) exit(2);
    exit(command_number("recurse ", 12288, i % 3) != 0);
  }
  close_file(ends[0]);
  await_figure("fourPages", count + 1 /* the first process */);
}

static void wake_by_bytes(long count, int writer) {
  for (long i = 0; i < count; i++) check("write", write_file(writer, "", 1) != 1);
}

// given-back COUNT PAGES: that many processes have been deep, and sleep: what their stacks take before and after memory was short.
// Then they go deep again.
static void given_back(char **arguments) {
  long count = number(arguments[0]);
  int writer;
  fork_deep_twice(count, &writer);
  wake_by_bytes(count, writer);
  check("warm-up", wait_for_all(live, count));
  close_file(writer);
  show_figures("givenBefore");
  show_lending("givenLendingBefore");
  fork_deep_twice(count, &writer);
  show_stacks("givenGrown");
  drop_caches_until(arguments[1], count);
  show_stacks("givenAsleep");
  show_lending("givenLending");
  wake_by_bytes(count, writer);
  long failed = wait_for_all(live, count);
  close_file(writer);
  show_figures("givenAfter");
  show_lending("givenLendingAfter");
  begin("given");
  put_member(&line, "failed", failed);
  end();
}

// given-margin COUNT CPUS: threads that have been deeper sleep 3,000 bytes deep, give back what they can, and are woken where
// there are no frames for them.
static void given_margin(char **arguments) {
  long count = number(arguments[0]), cpus = number(arguments[1]);
  check("hold", command("hold"));
  for (long i = 0; i < count; i++) {
    if (fork_child(i)) exit(command_number("recurse ", 12288, 1) || command_number("recurse ", 3000, 999 /* while held */));
  }
  await_figure("fourPages", count + 1);
  drop_caches_until("twoPages", count);
  show_lending("marginGiven");
  check("freeze", command("freeze"));
  check("let-go", command("let-go"));
  await_figure("waiting", count - 2 * cpus);
  show_lending("marginFrozen");
  check("thaw", command("thaw"));
  long failed = wait_for_all(live, count);
  begin("margin");
  put_member(&line, "failed", failed);
  end();
}

// given-elsewhere CPUS PAGES: a thread on each CPU but the first gives pages back while that CPU is idle, so that the CPU may still
// know where they were; goes deep again there, and sleeps in the depth, while another process makes the CPU forget.
static void given_elsewhere(char **arguments) {
  long cpus = number(arguments[0]), others[8];
  int ends[2];
  check("pin", pin_to_cpu(0) < 0);
  check("pipe", open_pipe(ends));
  for (long cpu = 1; cpu < cpus; cpu++) {
    if (!fork_child(cpu)) continue;
    char byte;
    if (pin_to_cpu(cpu) < 0 || command_number("recurse ", 12288, 1)) exit(1);
    if (read_file(ends[0], &byte, 1) != 1) exit(2);
    exit(command_number("recurse ", 12288, 20) != 0);
  }
  await_figure("fourPages", cpus);
  drop_caches_until(arguments[1], cpus - 1);
  show_lending("elsewhereGiven");
  wake_by_bytes(cpus - 1, ends[1]);
  sleep_milliseconds(20);
  for (long cpu = 1; cpu < cpus; cpu++) {
    others[cpu] = fork();
    if (others[cpu] == 0) exit(pin_to_cpu(cpu) < 0);
  }
  long failed = wait_for_all(live + 1, cpus - 1) + wait_for_all(others + 1, cpus - 1);
  begin("elsewhere");
  put_member(&line, "failed", failed);
  end();
}

// given-busy ROUNDS: a thread that has been deep computes on the second CPU without sleeping, while memory is short ten times a
// round; then it goes deep at once.
static void given_busy(char **arguments) {
  long rounds = number(arguments[0]), drops = 0;
  volatile long *seen = (volatile long *)map_shared_memory(4096), *has_ended = seen + 1;
  check("pin", pin_to_cpu(0) < 0);
  if (fork_child(0)) {
    long failed = pin_to_cpu(1) < 0 || command_number("recurse ", 12288, 1);
    for (long round = 1; round <= rounds && !failed; round++) {
      while (*seen < 10 * round) {}
      failed = command_number("recurse ", 12288, 998 /* no pause */);
    }
    *has_ended = 1;
    exit(failed);
  }
  for (; !*has_ended; *seen = ++drops) drop_caches(), sleep_milliseconds(4);
  begin("busy");
  put_member(&line, "drops", drops);
  put_member(&line, "failed", wait_for_all(live, 1));
  end();
}

// Processes that go deep, at random depths, again and again until the end, and rest a while in between.
static void dive_and_rest(long workers, const volatile int *has_ended) {
  for (long worker = 0; worker < workers; worker++) {
    if (!fork_child(worker)) continue;
    word random = worker * 7919 + 5;
    do {
      random = random * 6364136223846793005ul + 1442695040888963407ul;
      if (command_number("recurse ", 256 + (random >> 37) % (12288 - 256), (random >> 60) % 3)) exit(1);
      sleep_milliseconds((random >> 50) % 500);
    } while (!*has_ended);
    exit(0);
  }
}

// Reads what frames the processes have, and how deep all have been, until the end.
static void look_at_stacks(long count, const volatile int *has_ended) {
  static char bytes[4096];
  static struct text path;
  for (long i = 0; !*has_ended; i = (i + 1) % (count + 1)) {
    path.count = 0;
    if (i < count) put(&path, "/proc/"), put_number(&path, live[i]), put(&path, "/stack");
    else put(&path, "/sys/kernel/debug/kernel_stacks/stacks");
    path.bytes[path.count] = 0;
    long file = open_file(path.bytes, 0);
    while (read_file(file, bytes, sizeof(bytes)) > 0) {}
    close_file(file);
  }
}

// given-load WORKERS DROPS PAGES: memory is short that many times at least, and until so many pages have been given back, while
// processes go deep, and rest; another looks at their frames.
static void given_load(char **arguments) {
  long workers = number(arguments[0]), least = number(arguments[1]), pages = number(arguments[2]), drops = 0;
  volatile int *has_ended = (volatile int *)map_shared_memory(4096);
  check("mount", mount("debugfs", "/sys/kernel/debug"));
  *has_ended = 1;
  dive_and_rest(workers, has_ended);
  check("warm-up", wait_for_all(live, workers));
  show_figures("loadBefore");
  *has_ended = 0;
  dive_and_rest(workers, has_ended);
  long looker = fork();
  if (looker == 0) look_at_stacks(workers, has_ended), exit(0);
  for (; drops < least || lending_figure("givenBack") < pages; drops++) drop_caches();
  *has_ended = 1;
  long failed = wait_for_all(live, workers) + wait_for_all(&looker, 1);
  show_lending("loadLending");
  show_figures("loadAfter");
  begin("load");
  put_member(&line, "drops", drops);
  put_member(&line, "failed", failed);
  end();
}
