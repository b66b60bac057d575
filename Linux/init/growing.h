// Experiments with stacks that grow; other kernels run them too, for comparison.
#pragma once

#include "giving.h"
#include "processes.h"

// idle COUNT: what that many processes take that do nothing.
static void idle(char **arguments) {
  long error, count = number(arguments[0]);
  check("threads-max", write_words("/proc/sys/kernel/threads-max", "40000"));
  check("pid_max", write_words("/proc/sys/kernel/pid_max", "32768"));
  reap_live(fork_live(16, &error, 0));
  show_figures("idleBefore");
  long made = fork_live(count, &error, 0);
  check("fork", error);
  sleep_milliseconds(200);
  show_lending("idleLending");
  check("figures", command("figures"));
  begin("idleDuring");
  put_result(&line);
  end();
  reap_live(made);
  show_figures("idleAfter");
}

// switches COUNT: instructions of a round trip of one byte between two processes: two switches.
static void switches(char **arguments) {
  long count = number(arguments[0]);
  int there[2], back[2];
  char byte = 0;
  check("count-instructions", command("count-instructions"));
  check("pipe", open_pipe(there));
  check("pipe", open_pipe(back));
  // The first process that both come from is another kind of process: its stack is whole.
  if (fork() == 0)
    for (;;) {
      read_file(there[0], &byte, 1);
      write_file(back[1], &byte, 1);
    }
  if (fork() == 0) {
    unsigned int before = 0;
    for (long i = -20; i < count; i++) {
      if (i == 0) before = instructions();
      write_file(there[1], &byte, 1);
      read_file(back[0], &byte, 1);
    }
    unsigned int after = instructions();
    begin("switches");
    put_member(&line, "roundTripInstructions", (after - before) / count);
    end();
    exit(0);
  }
  wait(0);
}

// The least that one call takes, of ten rounds: without the timer's interrupts.
static unsigned int least_instructions(long count, void (*call)(void)) {
  unsigned int least = ~0u;
  for (int round = 0; round < 10; round++) {
    unsigned int before = instructions();
    for (long i = 0; i < count; i++) call();
    unsigned int spent = (instructions() - before) / count;
    if (spent < least) least = spent;
  }
  return least;
}

static void call_system(void) { process_number(); }
// The kernel emulates the read of an ID register: an undefined instruction, without a signal.
static void except_from_user(void) {
  word features;
  __asm__ volatile("mrs %0, id_aa64isar0_el1" : "=r"(features));
}
// A system call whose one store to the user's memory fails: an exception in the kernel, without a page.
static void except_from_kernel(void) { cpu_number_at(16); }

// entries COUNT: instructions of a system call, of an exception from a user's program, and of a system call with an exception
// from the kernel, in a process that has no more of its stack than others.
static void entries(char **arguments) {
  long count = number(arguments[0]);
  check("count-instructions", command("count-instructions"));
  if (fork() == 0) {
    check("system call", cpu_number_at(16) != -14 /* EFAULT */);
    unsigned int call = least_instructions(count, call_system);
    unsigned int from_user = least_instructions(count, except_from_user);
    unsigned int from_kernel = least_instructions(count, except_from_kernel);
    begin("entries");
    put_member(&line, "systemCallInstructions", call);
    put_member(&line, "userExceptionInstructions", from_user);
    put_member(&line, "kernelExceptionInstructions", from_kernel);
    end();
    exit(0);
  }
  wait(0);
}

// exceptions: of the kernel's own, in a process that has no more of its stack than others.
static void exceptions(void) {
  check("count-instructions", command("count-instructions"));
  if (fork() == 0) {
    check("measure-exceptions", command("measure-exceptions"));
    begin("exceptions");
    put_result(&line);
    end();
    exit(0);
  }
  wait(0);
}

// Processes that go deep into their stacks, at random depths, `rounds` times each; some sleep down there, some are
// interrupted or preempted. A new process goes on after every fourth time.
static void deep_once(long rounds, long workers) {
  static const long pauses[] = {0, 0, 1, 1000 /* computes until it was interrupted */};
  for (long worker = 0; worker < workers; worker++) {
    if (fork()) continue;
    word random = worker * 7919 + 3;
    for (long round = 0; round < rounds; round += 4) {
      random = random * 6364136223846793005ul + 1442695040888963407ul;
      long child = fork();
      if (child == 0) {
        for (int i = 0; i < 4; i++) {
          random = random * 6364136223846793005ul + 1442695040888963407ul;
          // 0 is one frame that is larger than a page.
          long bytes = (random >> 33) % 16 == 0 ? 0 : 256 + (random >> 37) % (12288 - 256);
          if (command_number("recurse ", bytes, pauses[(random >> 60) % 4])) exit(1);
        }
        exit(0);
      }
      int status = 1;
      if (child < 0) exit(1);
      wait(&status);
      if (status) exit(1);
    }
    exit(0);
  }
}

// deep ROUNDS WORKERS
static void deep(char **arguments) {
  long rounds = number(arguments[0]), workers = number(arguments[1]);
  deep_once(16, workers);
  check("warm-up", storm_wait(workers));
  show_figures("deepBefore");
  show_lending("deepLendingBefore");
  deep_once(rounds, workers);
  long failed = storm_wait(workers);
  show_lending("deepLending");
  show_figures("deepAfter");
  begin("deep");
  put_member(&line, "rounds", rounds * workers);
  put_member(&line, "failedWorkers", failed);
  end();
}

// What processes that are there before the frames go, and those that are forked afterwards, do until they go deep.
enum { TIMED, SLEEPING, TRACED, READING, FORKED_LATE, KINDS };

static volatile long alarms;
static void count_alarm(int signal) { alarms += signal == 14; }

// Returns when `go` is set, woken again and again meanwhile: by a timer's signal, by a timer, by its tracer, or once by a byte
// in a pipe.
static void wait_to_go_deep(long kind, const volatile int *go, int pipe) {
  char byte;
  switch (kind) {
    case TIMED:
      check("handler", handle_signal(14, count_alarm));
      check("timer", repeat_alarm(10));
      while (!*go) pause();
      break;
    case SLEEPING:
    case TRACED:
      while (!*go) sleep_milliseconds(5);
      break;
    case READING: check("read", read_file(pipe, &byte, 1) != 1); break;
  }
}

// After it was deep: signals of timers still come.
static void finish_waiting_process(long kind) {
  long before = alarms;
  while (kind == TIMED && alarms == before) pause();
  exit(0);
}

// Whether a process waits for frames: in no other way does one of this experiment come into the state "idle", nor, with
// PREEMPT_RT, into that of one that waits for a lock.
static int is_parked(long process) { return is_in_state(process, 'I') || is_in_state(process, 'D'); }

// Waits until so many of the first `count` processes wait for frames, or have ended because they needed none.
static void await_waiting_or_ended(long count, long many) {
  for (long ended = 0; lending_figure("waiting") + ended < many; sleep_milliseconds(10)) {
    ended = 0;
    for (long i = 0; i < count; i++) ended += is_in_state(live[i], 'Z');
  }
}

// frozen THREADS: no frames for processes that go deep, while timers, sleeps, bytes in a pipe and stops by a tracer come to
// their end; then signals come, and the tracer. Then there are frames again.
static void frozen(char **arguments) {
  long count = number(arguments[0]), failed = 0, interrupted = 0, stopped = 0;
  volatile int *go = (volatile int *)map_shared_memory(4096);
  // A pipe for each: of several readers of one, a byte wakes the first alone.
  static int writers[64];
  int ends[2] = {0, 0};
  for (long i = 0; i < count; i++) {
    if (i % KINDS == FORKED_LATE) continue;
    if (i % KINDS == READING) {
      check("pipe", open_pipe(ends));
      writers[i] = ends[1];
    }
    if (fork_child(i)) {
      wait_to_go_deep(i % KINDS, go, ends[0]);
      if (command_number("recurse ", 12288, i % 2)) exit(1);
      finish_waiting_process(i % KINDS);
    }
    if (i % KINDS != TRACED) continue;
    check("trace", trace(TRACE_SEIZE, live[i]));
    check("interrupt", trace(TRACE_INTERRUPT, live[i]));
    int status = 0;
    check("stop", wait_for(live[i], &status) != live[i] || status != TRACE_STOPPED);
  }
  check("freeze", command("freeze"));
  *go = 1;
  for (long i = 0; i < count; i++) {
    if (i % KINDS == READING) check("write", write_file(writers[i], "", 1) != 1);
    if (i % KINDS != FORKED_LATE) continue;
    if (fork_child(i)) exit(command_number("recurse ", 12288, i % 2) != 0);
  }
  await_waiting_or_ended(count, count - count / KINDS);
  for (long i = TRACED; i < count; i += KINDS) check("continue", trace(TRACE_CONTINUE, live[i]));
  await_waiting_or_ended(count, count);
  show_lending("frozen");
  // A stop and its end, a signal that is ignored, a tracer that wants a stop, a signal that kills the last of them, and
  // wakeups of all.
  for (long i = 0; i < count; i++) {
    if (i % KINDS == FORKED_LATE) kill(live[i], 19), kill(live[i], 18);
    if (i % KINDS == SLEEPING) kill(live[i], 17);
    if (i % KINDS == TRACED && is_parked(live[i])) {
      check("interrupt", trace(TRACE_INTERRUPT, live[i]));
      interrupted++;
    }
  }
  kill(live[count - 1], 9);
  for (int i = 0; i < 3; i++) {
    check("wake-waiting", command("wake-waiting"));
    check("wake-for-frames", command("wake-for-frames"));
    sleep_milliseconds(100);
  }
  show_lending("frozenAfterSignals");
  check("thaw", command("thaw"));
  for (long i = 0; i < count; i++) {
    int status = 1;
    wait_for(live[i], &status);
    if (i % KINDS == TRACED && status == TRACE_STOPPED) {
      stopped++;
      check("continue", trace(TRACE_CONTINUE, live[i]));
      wait_for(live[i], &status);
    }
    failed += status != 0 && status != 9;
  }
  show_lending("thawed");
  begin("frozenEnd");
  put_member(&line, "threads", count);
  put_member(&line, "interrupted", interrupted);
  put_member(&line, "stopped", stopped);
  put_member(&line, "failed", failed);
  end();
}

// shortages TIMES WORKERS: the pool is taken away that many times while processes fork and go deep.
static void shortages(char **arguments) {
  long times = number(arguments[0]), workers = number(arguments[1]);
  show_figures("shortagesBefore");
  deep_once(times * 16, workers);
  storm_once(times * 16, workers);
  for (long i = 0; i < times; i++) {
    check("freeze", command("freeze"));
    // The first time until a thread waits, whatever else the host does.
    if (i == 0) await_figure("waiting", 1);
    sleep_milliseconds(20);
    check("thaw", command("thaw"));
    sleep_milliseconds(10);
  }
  long failed = storm_wait(2 * workers);
  show_lending("shortagesLending");
  show_figures("shortagesAfter");
  begin("shortages");
  put_member(&line, "failedWorkers", failed);
  end();
}

// hungry ROUNDS WORKERS HOGS: processes go deep while others take all memory, and keep it until some have been killed for it.
static void hungry(char **arguments) {
  long rounds = number(arguments[0]), workers = number(arguments[1]), hogs = number(arguments[2]);
  long failed = 0, killed = 0, failure = 0;
  deep_once(rounds, workers);
  for (long i = 0; i < hogs; i++) {
    if (!fork_child(i)) continue;
    char *memory = (char *)map_memory(64 << 20);
    for (word at = 0; at < 64 << 20; at += 4096) memory[at] = 1;
    for (;;) pause();
  }
  for (long left = workers; left > 0 || killed == 0;) {
    int status = 1, is_hog = 0;
    long child = wait(&status);
    for (long hog = 0; hog < hogs; hog++) is_hog |= live[hog] == child;
    left -= !is_hog;
    killed += is_hog && status == 9;
    if (is_hog ? status == 9 : status == 0) continue;
    failed++;
    failure = status;
  }
  reap_live(hogs);
  show_lending("hungryLending");
  begin("hungry");
  put_member(&line, "killed", killed);
  put_member(&line, "lastFailure", failure);
  put_member(&line, "failed", failed);
  end();
}

static const char *second_cpu = "/sys/devices/system/cpu/cpu1/online";

// deep-hotplug TIMES WORKERS: a CPU goes and comes while processes go deep.
static void deep_hotplug(char **arguments) {
  long times = number(arguments[0]), workers = number(arguments[1]);
  show_figures("deepHotplugBefore");
  deep_once(times * 32, workers);
  for (long i = 0; i < times; i++) {
    check("offline", write_words(second_cpu, "0"));
    sleep_milliseconds(20);
    check("online", write_words(second_cpu, "1"));
    sleep_milliseconds(20);
  }
  long failed = storm_wait(workers);
  show_figures("deepHotplugAfter");
  begin("deepHotplug");
  put_member(&line, "failedWorkers", failed);
  end();
}

// late-cpu: one that does not set access flags wants to come online.
static void late_cpu(void) {
  check("offline", write_words(second_cpu, "0"));
  check("refuse-cpu", command("refuse-cpu 1"));
  begin("lateCPU");
  put_member(&line, "refused", write_words(second_cpu, "1"));
  check("refuse-cpu", command("refuse-cpu 9999"));
  put_member(&line, "accepted", write_words(second_cpu, "1"));
  end();
}
