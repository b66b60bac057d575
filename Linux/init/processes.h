// Processes of an experiment: children that live until they are killed, single forks, and storms of them.
#pragma once

#include "report.h"

static long live[10240];

// Forks live[i]; whether this is the child.
static int fork_child(long i) {
  live[i] = fork();
  check("fork", live[i] < 0);
  return live[i] == 0;
}

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

// Whether a process is in a state, by the letter that /proc has for it.
static int is_in_state(long process, char state) {
  static struct text path;
  static char words[64];
  path.count = 0;
  put(&path, "/proc/");
  put_number(&path, process);
  put(&path, "/stat");
  path.bytes[path.count] = 0;
  long file = open_file(path.bytes, 0), count = read_file(file, words, sizeof(words));
  close_file(file);
  for (long i = 0; i + 2 < count; i++)
    if (words[i] == ')') return words[i + 2] == state;
  return 0;
}

static int fork_and_wait(void) {
  long child = fork();
  if (child == 0) exit(0);
  if (child < 0) return child;
  wait(0);
  return 0;
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
