// The instructions that Swift cannot express: system registers, barriers, TLB invalidation, locks, semihosting.
#ifndef CAARCH64_H
#define CAARCH64_H

#if defined(__aarch64__) && !defined(__linux__) && !defined(__APPLE__)

#include <stdint.h>

#pragma clang assume_nonnull begin

// Instructions that order others are always inlined, however large the caller is, so that a test of the linked kernel
// finds them there. In a Swift closure that is passed as a C function the calls stay calls.
#define CA_INLINE static inline __attribute__((always_inline))

// Reads and writes of system registers: ca_read_NAME() and ca_write_NAME(value).
#define CA_READ(name) \
  static inline uint64_t ca_read_##name(void) { \
    uint64_t value; \
    __asm__ volatile("mrs %0, " #name : "=r"(value)); \
    return value; \
  }
#define CA_WRITE(name) \
  static inline void ca_write_##name(uint64_t value) { __asm__ volatile("msr " #name ", %0" ::"r"(value) : "memory"); }

CA_READ(ttbr0_el1)
CA_WRITE(ttbr0_el1)
CA_READ(ttbr1_el1)
CA_READ(tcr_el1)
CA_WRITE(tcr_el1)
CA_READ(sctlr_el1)
CA_WRITE(sctlr_el1)
CA_READ(tpidr_el1)
CA_WRITE(tpidr_el1)
CA_READ(midr_el1)
CA_READ(mpidr_el1)
CA_READ(id_aa64isar0_el1)
CA_READ(id_aa64mmfr0_el1)
CA_READ(id_aa64mmfr1_el1)
CA_READ(id_aa64dfr0_el1)
CA_READ(mair_el1)
CA_READ(cntfrq_el0)
CA_READ(cntkctl_el1)
CA_READ(mdscr_el1)
CA_READ(cpacr_el1)
CA_READ(tpidr_el0)
CA_WRITE(tpidr_el0)
CA_READ(cntvct_el0)
CA_WRITE(cntv_tval_el0)
CA_WRITE(cntv_ctl_el0)
CA_WRITE(pmcr_el0)
CA_READ(pmcr_el0)
CA_WRITE(pmcntenset_el0)
CA_WRITE(pmevtyper0_el0)
CA_READ(pmevcntr0_el0)
CA_READ(pmccntr_el0)

// The CPU interface of a GICv3, by the encodings that every assembler knows.
#define CA_READ_AS(name, encoding) \
  static inline uint64_t ca_read_##name(void) { \
    uint64_t value; \
    __asm__ volatile("mrs %0, " #encoding : "=r"(value)::"memory"); \
    return value; \
  }
#define CA_WRITE_AS(name, encoding) \
  static inline void ca_write_##name(uint64_t value) { \
    __asm__ volatile("msr " #encoding ", %0" ::"r"(value) : "memory"); \
  }
CA_WRITE_AS(icc_pmr_el1, S3_0_C4_C6_0)
CA_WRITE_AS(icc_sgi1r_el1, S3_0_C12_C11_5)
CA_READ_AS(icc_iar1_el1, S3_0_C12_C12_0)
CA_WRITE_AS(icc_eoir1_el1, S3_0_C12_C12_1)
CA_WRITE_AS(icc_bpr1_el1, S3_0_C12_C12_3)
CA_WRITE_AS(icc_ctlr_el1, S3_0_C12_C12_4)
CA_READ_AS(icc_sre_el1, S3_0_C12_C12_5)
CA_WRITE_AS(icc_sre_el1, S3_0_C12_C12_5)
CA_WRITE_AS(icc_igrpen1_el1, S3_0_C12_C12_7)

// The number of the CPU, which boot code puts into TPIDRRO_EL0. It doesn't change while interrupts are off, so the
// compiler may merge several reads; but not across a point where interrupts go on or off or another thread may run,
// since a thread may come back on another CPU. All such points clobber memory, and the operand, which is never accessed,
// makes this a read of memory.
static inline uint64_t ca_cpu_number(void) {
  uint64_t value;
  __asm__("mrs %0, tpidrro_el0" : "=r"(value) : "Q"(*(const uint64_t *)__builtin_frame_address(0)));
  return value;
}

static inline uint64_t ca_stack_pointer(void) {
  uint64_t value;
  __asm__ volatile("mov %0, sp" : "=r"(value));
  return value;
}

CA_INLINE void ca_isb(void) { __asm__ volatile("isb" ::: "memory"); }
CA_INLINE void ca_dsb_sy(void) { __asm__ volatile("dsb sy" ::: "memory"); }
CA_INLINE void ca_dsb_ish(void) { __asm__ volatile("dsb ish" ::: "memory"); }
CA_INLINE void ca_dsb_ishst(void) { __asm__ volatile("dsb ishst" ::: "memory"); }
CA_INLINE void ca_dmb_ishld(void) { __asm__ volatile("dmb ishld" ::: "memory"); }
CA_INLINE void ca_wait_for_interrupt(void) { __asm__ volatile("dsb sy\n\twfi" ::: "memory"); }

// Interrupts: DAIF.I (and F) set or clear.
CA_INLINE uint64_t ca_disable_interrupts(void) {
  uint64_t state;
  __asm__ volatile("mrs %0, daif\n\tmsr daifset, #3" : "=r"(state)::"memory");
  return state;
}
CA_INLINE void ca_enable_interrupts(void) { __asm__ volatile("msr daifclr, #3" ::: "memory"); }
CA_INLINE void ca_restore_interrupts(uint64_t state) { __asm__ volatile("msr daif, %0" ::"r"(state) : "memory"); }

// A 64-bit word that table walkers read concurrently: one single-copy atomic access.
static inline uint64_t ca_load(uintptr_t address) { return *(volatile uint64_t *)address; }
static inline void ca_store(uintptr_t address, uint64_t value) { *(volatile uint64_t *)address = value; }

// Replaces an entry that is `expected`, all 64 bits, by one atomic step; tells whether it was. Other accesses are not ordered.
// The CPU has FEAT_LSE: whether an update by the CPU's own walker ends an exclusive access is not said (Arm ARM B2.12.1).
CA_INLINE int ca_replace(uintptr_t address, uint64_t expected, uint64_t value) {
  uint64_t seen = expected;
  __asm__ volatile(".arch_extension lse\n\tcas %0, %x2, %1"
                   : "+r"(seen), "+Q"(*(uint64_t *)address)
                   : "zr"(value)
                   : "memory");
  return seen == expected;
}

// An exclusive access. The store fails, and says so, if another CPU has stored to the word since it was loaded; what follows the load is
// ordered after it.
CA_INLINE uint64_t ca_load_exclusive(uintptr_t address) {
  uint64_t value;
  __asm__ volatile("ldaxr %0, %1" : "=r"(value) : "Q"(*(uint64_t *)address) : "memory");
  return value;
}
CA_INLINE int ca_store_exclusive(uintptr_t address, uint64_t value) {
  uint32_t failed;
  __asm__ volatile("stxr %w0, %2, %1" : "=&r"(failed), "=Q"(*(uint64_t *)address) : "r"(value) : "memory");
  return failed == 0;
}

// Device registers.
static inline uint32_t ca_load32(uintptr_t address) { return *(volatile uint32_t *)address; }
static inline void ca_store32(uintptr_t address, uint32_t value) { *(volatile uint32_t *)address = value; }

// TLB invalidation, inner shareable: ca_tlbi_NAME(operand). An operand is VA[55:12] | ASID << 48 (see TLBInstruction.swift).
#define CA_TLBI(name) \
  CA_INLINE void ca_tlbi_##name(uint64_t operand) { __asm__ volatile("tlbi " #name ", %0" ::"r"(operand) : "memory"); }
CA_TLBI(vae1is)
CA_TLBI(vale1is)
CA_TLBI(vaae1is)
CA_TLBI(vaale1is)
CA_TLBI(aside1is)
CA_INLINE void ca_tlbi_vmalle1is(void) { __asm__ volatile("tlbi vmalle1is" ::: "memory"); }

// Whether this CPU translates an address for a load at EL1, by its tables as they are now. Interrupts are off: the answer
// is in PAR_EL1, whose F bit (0) is set by a fault (Arm ARM C5.6 "AT S1E1R").
static inline int ca_is_translated(uintptr_t address) {
  uint64_t answer;
  __asm__ volatile("at s1e1r, %1\n\tisb\n\tmrs %0, par_el1" : "=r"(answer) : "r"(address) : "memory");
  return (answer & 1) == 0;
}

// Makes instructions that were written as data visible to instruction fetch on all CPUs: cleans data caches to the point
// of unification, in steps of CTR_EL0's smallest line, then invalidates instruction caches.
static inline void ca_synchronize_instructions(uintptr_t address, uint64_t byte_count) {
  uint64_t type;
  __asm__ volatile("mrs %0, ctr_el0" : "=r"(type));
  uint64_t line = 4ull << (type >> 16 & 15);
  for (uintptr_t at = address & ~(line - 1); at < address + byte_count; at += line) {
    __asm__ volatile("dc cvau, %0" ::"r"(at) : "memory");
  }
  __asm__ volatile("dsb ish\n\tic ialluis\n\tdsb ish\n\tisb" ::: "memory");
}

// Waits for an event, or not at all: used in a loop that tests the condition. The event stream that boot code starts
// (CNTKCTL_EL1) bounds the wait, so that a loop that tests the time ends. An emulator that runs all CPUs in turn goes on
// to the next one here.
CA_INLINE void ca_wait_for_event(void) { __asm__ volatile("wfe" ::: "memory"); }
// A hint to the CPU that its loop waits for another one. The emulator goes on to the next CPU here, too.
CA_INLINE void ca_yield(void) { __asm__ volatile("yield" ::: "memory"); }
CA_INLINE void ca_send_event(void) { __asm__ volatile("dsb ishst\n\tsev" ::: "memory"); }

// Whether this was compiled for CPUs with single-instruction atomics (FEAT_LSE), and whether the CPU has them.
static inline uint64_t ca_wants_lse(void) {
#ifdef __ARM_FEATURE_ATOMICS
  return 1;
#else
  return 0;
#endif
}
static inline uint64_t ca_has_lse(void) { return ((ca_read_id_aa64isar0_el1() >> 20) & 15) >= 2; }

// A spin lock: 0 when it is free, 1 when it is held and no CPU waits; for the rest see lock_queue.h. Interrupts are off
// from before ca_lock until after ca_unlock.
void ca_lock_contended(uint64_t *word);
uint64_t ca_lock_node_bytes(void);  // what the queue of waiting CPUs takes for each
CA_INLINE void ca_lock(uint64_t *word) {
#ifdef __ARM_FEATURE_ATOMICS
  uint64_t value = 0;
  __asm__ volatile("casa	%0, %1, [%2]" : "+r"(value) : "r"((uint64_t)1), "r"(word) : "memory");
  if (value == 0) return;
#else
  __asm__ goto(
      "1:	ldaxr	x16, [%0]\n"
      "	cbnz	x16, %l2\n"
      "	stxr	w16, %1, [%0]\n"
      "	cbnz	w16, 1b\n"
      :
      : "r"(word), "r"((uint64_t)1)
      : "x16", "memory"
      : contended);
  return;
contended:
#endif
  ca_lock_contended(word);
}
CA_INLINE void ca_unlock(uint64_t *word) { __asm__ volatile("stlrb wzr, [%0]" ::"r"(word) : "memory"); }

// The counters and the node of a CPU; after boot only that CPU writes them, with interrupts off.
struct ca_cpu {
  uint64_t tlb_invalidations;
  uint64_t tlb_instructions;
  uint64_t lock_acquisitions;
  uint64_t instructions;  // the last value of the counter, extended to 64 bits
  uint64_t node;
  uint64_t user_tlb_invalidations;
  uint64_t lock_waits;       // locks found taken
  uint64_t lock_wait_ticks;  // of CNTVCT_EL0, until they were taken
};
// The waits for one lock, in a table with a place for each lock that a CPU has found taken. They are written while the lock is
// held.
struct ca_lock_waits {
  uint64_t lock;   // its address; 0 in a place that is free
  uint64_t waits;
  uint64_t ticks;  // of CNTVCT_EL0
};
#define CA_LOCK_WAIT_PLACES 256
extern struct ca_lock_waits ca_lock_waits[CA_LOCK_WAIT_PLACES];
static inline struct ca_lock_waits *ca_lock_waits_at(uint64_t place) { return &ca_lock_waits[place]; }

// As many as a scheduler has: sets of CPUs are words of 64 bits.
#define CA_MAXIMUM_CPUS 64
extern struct ca_cpu ca_cpus[CA_MAXIMUM_CPUS];
static inline struct ca_cpu *ca_this_cpu(void) { return &ca_cpus[ca_cpu_number()]; }
static inline struct ca_cpu *ca_cpu_at(uint64_t number) { return &ca_cpus[number]; }

// The facts about the machine that boot code stores and the machine handle reads.
struct ca_machine {
  uint64_t linear_map_offset;
  uint64_t virtual_address_bits;
  uint64_t kernel_root;
  uint64_t cpu_count;
  uint64_t tracks_dirty_pages;  // 1 where TCR_EL1.HD is set
  uint64_t updates_access_flags;  // 1 where TCR_EL1.HA is set
  uint64_t counts_instructions;  // 1 where event counter 0 has been started
  uint64_t counts_cycles;  // 1 where the cycle counter has been started
  uint64_t first_cycle;    // of the measurement that is under way
};
extern struct ca_machine ca_machine_state;
static inline struct ca_machine *ca_machine(void) { return &ca_machine_state; }

// Clears whole pages, by DC ZVA where DCZID_EL0 says that it clears 64 bytes.
void ca_clear_pages(uintptr_t address, uint64_t byte_count);
// Clears whole pages from base + offset on, byte_count bytes, which are not none; returns base.
void *_Nullable ca_clear_within(uintptr_t base, uint64_t byte_count, uint64_t offset);

// A system call, made at EL0: number in x8, arguments in x0 to x2, results in x0 to x2.
struct ca_results {
  uint64_t x0, x1, x2;
};
static inline struct ca_results ca_system_call(uint64_t number, uint64_t a, uint64_t b) {
  register uint64_t x8 __asm__("x8") = number;
  register uint64_t x0 __asm__("x0") = a;
  register uint64_t x1 __asm__("x1") = b;
  register uint64_t x2 __asm__("x2") = 0;
  __asm__ volatile("svc #0" : "+r"(x0), "+r"(x1), "+r"(x2) : "r"(x8) : "memory");
  return (struct ca_results){x0, x1, x2};
}

// Executes one of the instructions that are forbidden to a process, because it could observe, stop or signal others by
// them; returns 0 after the last. Besides the registers of an exception frame, EL0 can write only TPIDR_EL0, and it can
// read the CPU's number in TPIDRRO_EL0.
static inline uint64_t ca_touch_forbidden(uint64_t index) {
  uint64_t value = 0;
  switch (index) {
    case 0: __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value)); break;
    case 1: __asm__ volatile("mrs %0, cntpct_el0" : "=r"(value)); break;
    case 2: __asm__ volatile("msr cntv_tval_el0, %0" ::"r"(value)); break;
    case 3: __asm__ volatile("msr cntv_ctl_el0, %0" ::"r"(value)); break;
    case 4: __asm__ volatile("msr cntp_ctl_el0, %0" ::"r"(value)); break;
    case 5: __asm__ volatile("mrs %0, pmccntr_el0" : "=r"(value)); break;
    case 6: __asm__ volatile("msr pmcr_el0, %0" ::"r"(value)); break;
    case 7: __asm__ volatile("msr pmselr_el0, %0" ::"r"(value)); break;
    case 8: __asm__ volatile("msr S3_3_C4_C4_1, %0" ::"r"(value)); break;  // FPSR
    case 9: __asm__ volatile("msr S3_3_C4_C4_0, %0" ::"r"(value)); break;  // FPCR
    case 10: __asm__ volatile("msr daifset, #2"); break;
    case 11: __asm__ volatile("msr tpidrro_el0, %0" ::"r"(value)); break;
    case 12: __asm__ volatile("msr tpidr_el1, %0" ::"r"(value)); break;
    case 13: __asm__ volatile("mrs %0, ctr_el0" : "=r"(value)); break;
    case 14: __asm__ volatile("dc civac, %0" ::"r"(value)); break;
    case 15: __asm__ volatile("ic ivau, %0" ::"r"(value)); break;
    default: return 0;
  }
  return 1;
}

// Semihosting: writes a byte to the console of the debugger or emulator.
static inline void ca_semihosting_write(uint8_t byte) {
  register uint64_t operation __asm__("x0") = 0x03;  // SYS_WRITEC
  register const uint8_t *argument __asm__("x1") = &byte;
  __asm__ volatile("hlt #0xf000" : "+r"(operation) : "r"(argument) : "memory");
}

// Semihosting: ends the machine with an exit code.
static inline void ca_semihosting_exit(uint64_t code) {
  uint64_t block[2] = {0x20026, code};  // ADP_Stopped_ApplicationExit
  register uint64_t operation __asm__("x0") = 0x18;  // SYS_EXIT
  register uint64_t *argument __asm__("x1") = block;
  __asm__ volatile("hlt #0xf000" : "+r"(operation) : "r"(argument) : "memory");
}

// A call of firmware by the SMC Calling Convention: a function and three arguments; returns x0.
//
// Source: SMC Calling Convention, Arm DEN 0028, 2.6 "SMC and HVC argument passing": x0 to x17 may change.
#define CA_FIRMWARE_CALL(name, instruction) \
  static inline uint64_t name(uint64_t function, uint64_t a, uint64_t b, uint64_t c) { \
    register uint64_t x0 __asm__("x0") = function; \
    register uint64_t x1 __asm__("x1") = a; \
    register uint64_t x2 __asm__("x2") = b; \
    register uint64_t x3 __asm__("x3") = c; \
    __asm__ volatile(instruction " #0" \
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"memory", "x4", "x5", "x6", "x7", "x8", "x9", "x10", \
                       "x11", "x12", "x13", "x14", "x15", "x16", "x17"); \
    return x0; \
  }
CA_FIRMWARE_CALL(ca_hypervisor_call, "hvc")
CA_FIRMWARE_CALL(ca_secure_monitor_call, "smc")

// Cleans a range of memory to the point of coherency, for CPUs whose caches are still off. Interrupts are off: a CPU's
// barrier waits for the cache maintenance of that CPU only.
static inline void ca_clean_to_coherency(uintptr_t address, uint64_t byte_count) {
  uint64_t type;
  __asm__ volatile("mrs %0, ctr_el0" : "=r"(type));
  uint64_t line = 4ull << (type >> 16 & 15);
  for (uintptr_t at = address & ~(line - 1); at < address + byte_count; at += line) {
    __asm__ volatile("dc cvac, %0" ::"r"(at) : "memory");
  }
  __asm__ volatile("dsb sy" ::: "memory");
}

#pragma clang assume_nonnull end

#endif
#endif
