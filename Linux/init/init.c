// The first and only program: runs the experiment that its arguments name, then switches the machine off.
//
// Each result is one console line: KSTACKS, a blank, and one JSON object whose first member is "type".

#include "system.h"

// Commands to the kernel's test part.

static long command(const char *words) {
  long file = open_file("/proc/kernelstacks", 1);
  if (file < 0) return file;
  long count = write_file(file, words, length(words));
  close_file(file);
  return count < 0 ? count : 0;
}

static long command_number(const char *words, long first, long second) {
  static struct text line;
  line.count = 0;
  put(&line, words);
  put_number(&line, first);
  if (second >= 0) put(&line, " "), put_number(&line, second);
  put(&line, "");
  line.bytes[line.count] = 0;
  return command(line.bytes);
}

// Appends the members that the last command found.
static void put_result(struct text *text) {
  long file = open_file("/proc/kernelstacks", 0);
  static char found[1024];
  long count = read_file(file, found, sizeof(found) - 1);
  close_file(file);
  found[count < 0 ? 0 : count] = 0;
  put(text, ",");
  put(text, found);
}

static struct text line;

static void begin(const char *type) {
  line.count = 0;
  put(&line, "KSTACKS {\"type\":\"");
  put(&line, type);
  put(&line, "\"");
}
static void end(void) {
  put(&line, "}");
  show(&line);
}
static void check(const char *what, long error) {
  if (!error) return;
  begin("error");
  put_member(&line, what, error);
  end();
  power_off();
}

// Processes.

static long live[512];

// Forks children that wait to be killed; stops at the first failure. Returns how many there are.
static long fork_live(long count, long *error, int show_each) {
  *error = 0;
  for (long made = 0; made < count; made++) {
    if (show_each) {
      begin("forking");
      put_member(&line, "succeeded", made);
      end();
    }
    long child = fork();
    if (child == 0)
      for (;;) pause();
    if (child < 0) {
      *error = child;
      return made;
    }
    live[made] = child;
  }
  return count;
}

static void reap_live(long count) {
  for (long i = 0; i < count; i++) kill(live[i], 9);
  for (long i = 0; i < count; i++) wait(0);
}

static int fork_and_wait(void) {
  long child = fork();
  if (child == 0) exit(0);
  if (child < 0) return child;
  wait(0);
  return 0;
}

// fragmented ORDER FORKS SEED: breaks free memory into blocks of 2^ORDER pages at most, then forks.
static void fragmented(char **arguments) {
  long error, asked = number(arguments[1]);
  check("fragment", command_number("fragment ", number(arguments[0]), number(arguments[2])));
  begin("fragmented");
  put_result(&line);
  put_member(&line, "forksAttempted", asked);
  end();
  long made = fork_live(asked, &error, 1);
  begin("forked");
  put_member(&line, "succeeded", made);
  put_member(&line, "error", error);
  end();
  reap_live(made);
}

// costs LIVE BURST SERIAL: instructions of stacks with LIVE others, of a burst of forks, of single forks.
static void costs(char **arguments) {
  long error, burst = number(arguments[1]), serial = number(arguments[2]);
  check("count-instructions", command("count-instructions"));
  for (int i = 0; i < 20; i++) check("fork", fork_and_wait());
  unsigned int before = instructions();
  for (long i = 0; i < serial; i++) check("fork", fork_and_wait());
  begin("serial");
  put_member(&line, "forkExitWaitInstructions", (instructions() - before) / serial);
  end();

  // The first burst makes tables and slabs that stay; the second is counted.
  for (int round = 0; round < 2; round++) {
    static struct text figures;
    check("settle", command("settle"));
    check("figures", command("figures"));
    figures.count = 0;
    put_result(&figures);
    before = instructions();
    long made = fork_live(burst, &error, 0);
    unsigned int forked = instructions();
    check("burst", error);
    check("figures", command("figures"));
    begin("burst");
    put_member(&line, "round", round);
    put_member(&line, "live", made);
    put(&line, ",\"before\":{\"at\":0");
    put(&line, (figures.bytes[figures.count] = 0, figures.bytes));
    put(&line, "},\"during\":{\"at\":1");
    put_result(&line);
    put(&line, "}");
    unsigned int reaping = instructions();
    reap_live(made);
    // What is left to RCU and to workers belongs to the exits too; an idle CPU executes next to nothing.
    sleep_milliseconds(100);
    put_member(&line, "burstForkInstructions", (forked - before) / burst);
    put_member(&line, "burstExitInstructions", (instructions() - reaping) / burst);
    end();
  }
  check("measure", command_number("measure ", number(arguments[0]), -1));
  begin("stacks");
  put_result(&line);
  end();
}

// Children that each fork `count` times, up to 16 at a time.
static void storm_once(long count, long workers) {
  for (long worker = 0; worker < workers; worker++) {
    if (fork()) continue;
    word random = worker * 7919 + 1;
    for (long left = count; left > 0;) {
      random = random * 6364136223846793005ul + 1442695040888963407ul;
      long batch = 1 + (random >> 33) % 16, made = 0;
      for (; made < batch && made < left; made++) {
        long child = fork();
        if (child == 0) exit(0);
        if (child < 0) exit(1);
      }
      for (long i = 0; i < made; i++) wait(0);
      left -= made;
    }
    exit(0);
  }
}

static long storm_wait(long workers) {
  long failed = 0;
  for (long worker = 0; worker < workers; worker++) {
    int status = 0;
    wait(&status);
    failed += status != 0;
  }
  return failed;
}

static void show_figures(const char *type) {
  check("settle", command("settle"));
  check("figures", command("figures"));
  begin(type);
  put_result(&line);
  end();
}

// storm FORKS WORKERS: that many forks and exits, by that many processes at once. A tenth of them goes before the
// first figures are taken, to make the page tables and slabs that stay.
static void storm(char **arguments) {
  long forks = number(arguments[0]), workers = number(arguments[1]);
  storm_once(forks / 10 / workers, workers);
  check("warm-up", storm_wait(workers));
  show_figures("stormBefore");
  storm_once(forks / workers, workers);
  long failed = storm_wait(workers);
  show_figures("stormAfter");
  begin("storm");
  put_member(&line, "forks", forks / workers * workers);
  put_member(&line, "workers", workers);
  put_member(&line, "failedWorkers", failed);
  end();
}

// refusals FORKS: forks whose n-th page allocation fails, n = 1, 2, … until none is reached, again and again.
static void refusals(char **arguments) {
  long forks = number(arguments[0]), refused = 0, others = 0, n = 0, largest = 0;
  for (int i = 0; i < 200; i++) check("fork", fork_and_wait());
  for (int pass = 0; pass < 2; pass++) {
    if (pass == 1) show_figures("refusalsBefore"), refused = others = 0;
    for (long i = 0; i < (pass ? forks : 200); i++) {
      if (i % 2 == 0) command("drain");
      check("refuse", command_number("refuse ", ++n, -1));
      long child = fork();
      if (child == 0) exit(0);
      command_number("refuse ", 0, -1);
      if (child > 0) wait(0);
      if (child == -12) refused++;
      if (child < 0 && child != -12) others++;
      if (child < 0 && n > largest) largest = n;
      if (child > 0) n = 0;
    }
  }
  show_figures("refusalsAfter");
  begin("refusals");
  put_member(&line, "forks", forks);
  put_member(&line, "refused", refused);
  put_member(&line, "otherErrors", others);
  put_member(&line, "largestAllocation", largest);
  end();
}

// misuse: a stack freed twice, and an address that is none.
static void misuse(void) {
  check("free-twice", command("free-twice"));
  begin("freeTwice");
  put_result(&line);
  end();
  check("free-foreign", command("free-foreign"));
  check("fork", fork_and_wait());
  begin("misuse");
  end();
}

static void show_file(const char *type, const char *path, const char *with) {
  static char bytes[16384];
  long file = open_file(path, 0), count = 0, part;
  while ((part = read_file(file, bytes + count, sizeof(bytes) - 1 - count)) > 0) count += part;
  close_file(file);
  bytes[count] = 0;
  for (char *start = bytes; *start;) {
    char *stop = start;
    while (*stop && *stop != '\n') stop++;
    int last = !*stop;
    *stop = 0;
    for (char *place = start; *place; place++) {
      word i = 0;
      while (with[i] && place[i] == with[i]) i++;
      if (with[i]) continue;
      begin(type);
      put(&line, ",\"line\":\"");
      put(&line, start);
      put(&line, "\"");
      end();
      break;
    }
    if (last) break;
    start = stop + 1;
  }
}

static long write_words(const char *path, const char *words) {
  long file = open_file(path, 1);
  if (file < 0) return file;
  long count = write_file(file, words, length(words));
  close_file(file);
  return count < 0 ? count : 0;
}

static long set_online(const char *value) { return write_words("/sys/devices/system/cpu/cpu1/online", value); }

// The number behind the first place of `name` in a file; -1 if it is not there.
static long number_in(const char *path, const char *name) {
  static char bytes[8192];
  long file = open_file(path, 0);
  long count = read_file(file, bytes, sizeof(bytes) - 1);
  close_file(file);
  bytes[count < 0 ? 0 : count] = 0;
  for (char *place = bytes; *place; place++) {
    word i = 0;
    while (name[i] && place[i] == name[i]) i++;
    if (name[i]) continue;
    place += i;
    while (*place == ' ') place++;
    return number(place);
  }
  return -1;
}

// depths FORKS WORKERS: how deep threads have been in their stacks, in a storm and at rest.
static void depths(char **arguments) {
  long error, forks = number(arguments[0]), workers = number(arguments[1]);
  check("watch-depths", command("watch-depths"));
  storm_once(forks / workers, workers);
  check("storm", storm_wait(workers));
  long made = fork_live(64, &error, 0);
  check("fork", error);
  number_in("/proc/meminfo", "MemFree:");
  number_in("/proc/vmallocinfo", "nobody");
  check("depths", command("depths"));
  begin("depths");
  put_result(&line);
  end();
  reap_live(made);
}

// groups LIVE: what a memory cgroup is charged for the stacks of LIVE processes in it, new and then cached, and what is
// left of that when they have ended.
static void groups(char **arguments) {
  long error, count = number(arguments[0]);
  const char *figures = "/groups/one/memory.stat";
  check("mount", mount("cgroup2", "/groups"));
  check("controller", write_words("/groups/cgroup.subtree_control", "+memory"));
  check("group", make_folder("/groups/one"));
  for (int round = 0; round < 2; round++) {
    long founder = fork();
    if (founder == 0) {
      // Its own stack was charged to the group that it was made in.
      check("move", write_words("/groups/one/cgroup.procs", "0"));
      long made = fork_live(count, &error, 0);
      check("fork", error);
      begin(round == 0 ? "groupNew" : "groupCached");
      put_member(&line, "live", made);
      put_member(&line, "stackBytes", number_in(figures, "kernel_stack"));
      reap_live(made);
      // Not settled: the second round is to find the stacks of the first in the cache.
      sleep_milliseconds(100);
      put_member(&line, "stackBytesAfter", number_in(figures, "kernel_stack"));
      end();
      exit(0);
    }
    wait(0);
  }
}

// nodes LIVE: on which node the stacks of LIVE processes lie that a CPU of each node has forked.
static void nodes(char **arguments) {
  const char *figures[2] = {"/sys/devices/system/node/node0/meminfo", "/sys/devices/system/node/node1/meminfo"};
  long error, count = number(arguments[0]);
  for (int cpu = 0; cpu < 2; cpu++) {
    check("pin", pin_to_cpu(cpu) < 0);
    long before[2] = {number_in(figures[0], "KernelStack:"), number_in(figures[1], "KernelStack:")};
    long made = fork_live(count, &error, 0);
    check("fork", error);
    begin(cpu == 0 ? "node0" : "node1");
    put_member(&line, "onNode0KiB", number_in(figures[0], "KernelStack:") - before[0]);
    put_member(&line, "onNode1KiB", number_in(figures[1], "KernelStack:") - before[1]);
    end();
    reap_live(made);
    command("settle");
  }
}

// hotplug: stacks cached by a CPU come back when it goes offline.
static void hotplug(void) {
  long error;
  for (int round = 0; round < 3; round++) {
    check("pin", pin_to_cpu(1) < 0);
    long made = fork_live(64, &error, 0);
    check("fork", error);
    reap_live(made);
    check("pin", pin_to_cpu(0) < 0);
    check("offline", set_online("0"));
    // Only the hotplug callback can have reached the cache of a CPU that is not there.
    show_figures(round == 0 ? "hotplugBefore" : "hotplugAfter");
    check("online", set_online("1"));
  }
  show_file("vmallocinfo", "/proc/vmallocinfo", "swift_stacks");
  begin("hotplug");
  end();
}

void start(word *stack) {
  char **arguments = (char **)(stack + 2), **rest = arguments + 1;
  mount("proc", "/proc");
  mount("sysfs", "/sys");
  if (stack[0] < 2) check("arguments", -22);
  const char *what = arguments[0];
  if (same(what, "fragmented")) fragmented(rest);
  if (same(what, "costs")) costs(rest);
  if (same(what, "storm")) storm(rest);
  if (same(what, "depths")) depths(rest);
  if (same(what, "refusals")) refusals(rest);
  if (same(what, "misuse")) misuse();
  if (same(what, "hotplug")) hotplug();
  if (same(what, "groups")) groups(rest);
  if (same(what, "nodes")) nodes(rest);
  if (same(what, "overflow")) check("overflow", command("overflow"));
  begin("done");
  end();
  power_off();
}

__asm__(".globl _start\n_start: mov x0, sp\n bl start\n");
