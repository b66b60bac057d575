// Linux system calls and a little text, without a C library.
#pragma once

typedef unsigned long word;

static inline long system_call(long number, long a, long b, long c, long d, long e) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = 0;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
  return x0;
}

static inline long open_file(const char *path, int flags) { return system_call(56, -100, (long)path, flags, 0, 0); }
static inline long close_file(long file) { return system_call(57, file, 0, 0, 0, 0); }
static inline long read_file(long file, void *bytes, word count) {
  return system_call(63, file, (long)bytes, count, 0, 0);
}
static inline long write_file(long file, const void *bytes, word count) {
  return system_call(64, file, (long)bytes, count, 0, 0);
}
static inline long fork(void) { return system_call(220, 17 /* SIGCHLD */, 0, 0, 0, 0); }
static inline void exit(int status) {
  for (;;) system_call(93, status, 0, 0, 0, 0);
}
static inline long wait(int *status) { return system_call(260, -1, (long)status, 0, 0, 0); }
static inline long wait_for(long process, int *status) { return system_call(260, process, (long)status, 0, 0, 0); }
// 0 if it has not ended.
static inline long wait_if_ended(long process, int *status) {
  return system_call(260, process, (long)status, 1 /* WNOHANG */, 0, 0);
}
static inline long kill(long process, int signal) { return system_call(129, process, signal, 0, 0, 0); }
static inline long open_pipe(int *ends) { return system_call(59, (long)ends, 0, 0, 0, 0); }
static inline long map_memory(word count) {
  return system_call(222, 0, count, 3 /* read, write */, 0x22 /* private, anonymous */, -1);
}
static inline long map_shared_memory(word count) {
  return system_call(222, 0, count, 3 /* read, write */, 0x21 /* shared, anonymous */, -1);
}
static inline long handle_signal(int signal, void (*handler)(int)) {
  struct {
    void (*handler)(int);
    word flags, restorer, mask;
  } action = {.handler = handler};
  return system_call(134, signal, (long)&action, 0, sizeof(action.mask), 0);
}
// A signal 14 (SIGALRM) after so many milliseconds, again and again.
static inline long repeat_alarm(long milliseconds) {
  long times[4] = {0, milliseconds * 1000, 0, milliseconds * 1000};
  return system_call(103, 0, (long)times, 0, 0, 0);
}
enum { TRACE_CONTINUE = 7, TRACE_SEIZE = 0x4206, TRACE_INTERRUPT = 0x4207 };
enum { TRACE_STOPPED = 0x80057f }; // what wait() says of a process that its tracer has interrupted
static inline long trace(long what, long process) { return system_call(117, what, process, 0, 0, 0); }
static inline long pause(void) { return system_call(73, 0, 0, 0, 0, 0); /* ppoll of nothing */ }
static inline long sleep_milliseconds(long count) {
  long time[2] = {count / 1000, count % 1000 * 1000000};
  return system_call(101, (long)time, 0, 0, 0, 0);
}
static inline long process_number(void) { return system_call(172, 0, 0, 0, 0, 0); }
// Stores the number of the CPU there.
static inline long cpu_number_at(word address) { return system_call(168, address, 0, 0, 0, 0); }
static inline long pin_to_cpu(int cpu) {
  word mask = 1ul << cpu;
  return system_call(122, 0, sizeof(mask), (long)&mask, 0, 0);
}
// SCHED_FIFO, with the lowest of its priorities.
static inline long make_realtime(long process) {
  int priority = 1;
  return system_call(119, process, 1, (long)&priority, 0, 0);
}
static inline long mount(const char *type, const char *place) {
  return system_call(40, (long)type, (long)place, (long)type, 0, 0);
}
static inline long make_folder(const char *path) { return system_call(34, -100, (long)path, 0755, 0, 0); }
static inline void power_off(void) {
  for (;;) system_call(142, 0xfee1dead, 672274793, 0x4321fedc, 0, 0);
}

// Retired instructions; the kernel has switched the counter on (count-instructions).
static inline unsigned int instructions(void) {
  word count;
  __asm__ volatile("isb; mrs %0, pmevcntr0_el0" : "=r"(count));
  return count;
}

// Text for the console, gathered so that each line is one write.
struct text {
  char bytes[2048];
  word count;
};

static inline void put(struct text *text, const char *words) {
  while (*words && text->count < sizeof(text->bytes)) text->bytes[text->count++] = *words++;
}
static inline void put_number(struct text *text, long value) {
  char digits[24], *next = digits + sizeof(digits);
  word left = value < 0 ? -value : value;
  *--next = 0;
  do *--next = '0' + left % 10;
  while (left /= 10);
  if (value < 0) *--next = '-';
  put(text, next);
}
static inline void put_member(struct text *text, const char *name, long value) {
  put(text, ",\"");
  put(text, name);
  put(text, "\":");
  put_number(text, value);
}
static inline void show(struct text *text) {
  put(text, "\n");
  write_file(1, text->bytes, text->count);
  text->count = 0;
}

static inline word length(const char *words) {
  word count = 0;
  while (words[count]) count++;
  return count;
}
static inline int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}
static inline long number(const char *words) {
  long value = 0;
  while (*words >= '0' && *words <= '9') value = value * 10 + (*words++ - '0');
  return value;
}
