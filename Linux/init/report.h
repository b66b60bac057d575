// What the experiments ask of the kernel's test part, and what they say on the console.
//
// Each result is one console line: KSTACKS, a blank, and one JSON object whose first member is "type".
#pragma once

#include "system.h"

// Files of few words.

static long write_words(const char *path, const char *words) {
  long file = open_file(path, 1);
  if (file < 0) return file;
  long count = write_file(file, words, length(words));
  close_file(file);
  return count < 0 ? count : 0;
}

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

// Commands to the kernel's test part.

static long command(const char *words) { return write_words("/proc/kernelstacks", words); }

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

static void show_figures(const char *type) {
  check("settle", command("settle"));
  check("figures", command("figures"));
  begin(type);
  put_result(&line);
  end();
}

// A file as it is, between two lines that name it and its end.
static void show_whole_file(const char *path) {
  static char bytes[4096];
  long file = open_file(path, 0), part;
  if (file < 0) return;
  line.count = 0;
  put(&line, "KSTACKS-FILE ");
  put(&line, path);
  show(&line);
  while ((part = read_file(file, bytes, sizeof(bytes))) > 0) write_file(1, bytes, part);
  close_file(file);
  line.count = 0;
  put(&line, "KSTACKS-END");
  show(&line);
}

// Each line of a file that has some words in it, as a result.
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
