// The first and only program: runs the experiment that its arguments name, then switches the machine off.

#include "edges.h"
#include "giving.h"
#include "groups.h"
#include "growing.h"
#include "processes.h"
#include "realtime.h"
#include "waiting.h"

// What the doctor reads of a machine.
static void show_memory(void) {
  static const char *paths[] = {
    "/proc/buddyinfo", "/proc/pagetypeinfo", "/proc/zoneinfo", "/proc/meminfo", "/proc/vmstat", "/proc/loadavg",
    "/proc/sys/kernel/osrelease", "/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max",
  };
  for (word i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) show_whole_file(paths[i]);
}

// fragmented ORDER FORKS SEED: breaks free memory into blocks of 2^ORDER pages at most, shows it, then forks.
static void fragmented(char **arguments) {
  long error, asked = number(arguments[1]);
  check("fragment", command_number("fragment ", number(arguments[0]), number(arguments[2])));
  begin("fragmented");
  put_result(&line);
  put_member(&line, "forksAttempted", asked);
  end();
  show_memory();
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
    // Those that have not run yet do so now, and belong to the forks.
    sleep_milliseconds(100);
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

// suspects: several stacks freed twice, from two CPUs, which neither may hand out again.
static void suspects(void) {
  check("pin", pin_to_cpu(0) < 0);
  check("free-many-twice", command("free-many-twice"));
  for (int cpu = 0; cpu < 2; cpu++) {
    check("pin", pin_to_cpu(cpu) < 0);
    check("reuse", command("reuse"));
    begin(cpu == 0 ? "suspects0" : "suspects1");
    put_result(&line);
    end();
  }
  check("fork", fork_and_wait());
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

// hotplug: stacks cached by a CPU come back when it goes offline.
static void hotplug(void) {
  const char *online = "/sys/devices/system/cpu/cpu1/online";
  long error;
  for (int round = 0; round < 3; round++) {
    check("pin", pin_to_cpu(1) < 0);
    long made = fork_live(64, &error, 0);
    check("fork", error);
    reap_live(made);
    check("pin", pin_to_cpu(0) < 0);
    check("offline", write_words(online, "0"));
    // Only the hotplug callback can have reached the cache of a CPU that is not there.
    show_figures(round == 0 ? "hotplugBefore" : "hotplugAfter");
    check("online", write_words(online, "1"));
  }
  show_file("vmallocinfo", "/proc/vmallocinfo", "swift_stacks");
  begin("hotplug");
  end();
}

// lkdtm NAME…: each of Linux's own provoked crashes in a process, which it is to kill with SIGSEGV.
static void lkdtm(char **names) {
  long killed = 0;
  check("mount", mount("debugfs", "/sys/kernel/debug"));
  for (; *names; names++) {
    int status = 0;
    if (fork() == 0) {
      check("provoke", write_words("/sys/kernel/debug/provoke-crash/DIRECT", *names));
      exit(0);
    }
    wait(&status);
    killed += (status & 127) == 11;
  }
  begin("lkdtm");
  put_member(&line, "killed", killed);
  end();
}

// overflow: in a process that has no more than others; this one's stack is always whole.
static void overflow(void) {
  if (fork() == 0) check("overflow", command("overflow"));
  wait(0);
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
  if (same(what, "suspects")) suspects();
  if (same(what, "hotplug")) hotplug();
  if (same(what, "groups")) groups(rest);
  if (same(what, "groups-grown")) groups_grown(rest);
  if (same(what, "groups-steps")) groups_steps(rest);
  if (same(what, "groups-given")) groups_given(rest);
  if (same(what, "nodes")) nodes(rest);
  if (same(what, "idle")) idle(rest);
  if (same(what, "switches")) switches(rest);
  if (same(what, "entries")) entries(rest);
  if (same(what, "exceptions")) exceptions();
  if (same(what, "deep")) deep(rest);
  if (same(what, "frozen")) frozen(rest);
  if (same(what, "shortages")) shortages(rest);
  if (same(what, "hungry")) hungry(rest);
  if (same(what, "deep-hotplug")) deep_hotplug(rest);
  if (same(what, "late-cpu")) late_cpu();
  if (same(what, "given-back")) given_back(rest);
  if (same(what, "given-margin")) given_margin(rest);
  if (same(what, "given-elsewhere")) given_elsewhere(rest);
  if (same(what, "given-busy")) given_busy(rest);
  if (same(what, "given-load")) given_load(rest);
  if (same(what, "early-wakeup")) early_wakeup();
  if (same(what, "queue-order")) queue_order(rest);
  if (same(what, "wait-as")) wait_as(rest);
  if (same(what, "realtime")) realtime(rest);
  if (same(what, "realtime-costs")) realtime_costs();
  if (same(what, "exit-deep")) exit_deep(rest);
  if (same(what, "lkdtm")) lkdtm(rest);
  if (same(what, "overflow")) overflow();
  if (same(what, "edges")) edges();
  if (same(what, "bottom")) bottom(rest);
  if (same(what, "too-low")) too_low(rest);
  begin("done");
  end();
  power_off();
}

__asm__(".globl _start\n_start: mov x0, sp\n bl start\n");
