// Counters per CPU: instructions by the performance monitor, invalidations and locks by software.
#if hasFeature(Embedded)
  import CAArch64
  public import KernelMachine

  extension AArch64 {
    /// Starts event counter 0 of the current CPU's performance monitor, counting INST_RETIRED (event 0x08).
    ///
    /// Without such a counter, instructions are not counted; where the CPU or emulator does not implement the event, the
    /// count stays 0.
    public func startInstructionCounter() {
      guard Self.hasEventCounter else { return }
      ca_machine().pointee.counts_instructions = 1
      ca_write_pmevtyper0_el0(0x08)
      ca_write_pmcntenset_el0(1)
      ca_write_pmcr_el0(ca_read_pmcr_el0() | 1)
      ca_isb()
    }

    /// Starts the cycle counter of the current CPU, with 64 bits, for ``startCycles()``.
    ///
    /// Without performance monitors, cycles are not counted. An emulator's cycles are those of no CPU.
    public func startCycleCounter() {
      guard Self.hasEventCounter else { return }
      ca_machine().pointee.counts_cycles = 1
      ca_write_pmcntenset_el0(1 << 31)
      // PMCR_EL0: E, enabled; LC, all 64 bits.
      ca_write_pmcr_el0(ca_read_pmcr_el0() | 1 | 1 << 6)
      ca_isb()
    }

    /// Reads PMCCNTR_EL0 by ISB and MRS, and stores it.
    public func startCycles() {
      guard ca_machine().pointee.counts_cycles != 0 else { return }
      ca_isb()
      ca_machine().pointee.first_cycle = ca_read_pmccntr_el0()
    }

    /// Reads PMCCNTR_EL0 by ISB and MRS.
    public var cyclesSinceStart: Int? {
      guard ca_machine().pointee.counts_cycles != 0 else { return nil }
      ca_isb()
      return Int(ca_read_pmccntr_el0() &- ca_machine().pointee.first_cycle)
    }

    /// Whether the CPU has performance monitors of PMUv3 with an event counter.
    ///
    /// Their registers are UNDEFINED elsewhere. ID_AA64DFR0_EL1.PMUVer: 0 is none, 15 is something else. PMCR_EL0.N is the
    /// number of counters that EL1 may use.
    private static var hasEventCounter: Bool {
      let version = ca_read_id_aa64dfr0_el1() >> 8 & 15
      return version != 0 && version != 15 && ca_read_pmcr_el0() >> 11 & 31 != 0
    }

    /// Whether instructions are counted.
    public var countsInstructions: Bool { ca_machine().pointee.counts_instructions != 0 }

    /// The instructions retired since the counter started, extended to 64 bits.
    ///
    /// The counter has 32 bits; it must be read at least once in 2³² instructions, which the timer tick does. 0 where
    /// instructions are not counted.
    public var instructionCount: UInt64 {
      if !countsInstructions { return 0 }
      let state = ca_disable_interrupts()
      ca_isb()
      let cpu = ca_this_cpu()
      let low = ca_read_pmevcntr0_el0() & 0xffff_ffff
      let last = cpu.pointee.instructions
      var extended = last & ~0xffff_ffff | low
      if extended < last { extended &+= 1 &<< 32 }
      cpu.pointee.instructions = extended
      ca_restore_interrupts(state)
      return extended
    }

    /// Completed batches of TLB invalidation of user addresses by all CPUs, which ``counters`` leaves out.
    public var userInvalidations: UInt64 {
      var result: UInt64 = 0
      for number in 0..<ca_machine().pointee.cpu_count {
        result &+= ca_cpu_at(number).pointee.user_tlb_invalidations
      }
      return result
    }

    /// How often CPUs have found a lock taken, and how many ticks of the system counter (CNTFRQ_EL0 a second) they waited.
    public var lockWaits: (count: UInt64, ticks: UInt64) {
      var (count, ticks): (UInt64, UInt64) = (0, 0)
      for number in 0..<ca_machine().pointee.cpu_count {
        count &+= ca_cpu_at(number).pointee.lock_waits
        ticks &+= ca_cpu_at(number).pointee.lock_wait_ticks
      }
      return (count, ticks)
    }

    /// Calls `body` with each lock that a CPU has found taken: its address, how often, and how many ticks all such waits took.
    ///
    /// ``lockWaits`` counts also those for locks that were too many for the table: of more than 256.
    ///
    /// - Complexity: O(256).
    public func visitLockWaits(_ body: (_ lock: UInt, _ count: UInt64, _ ticks: UInt64) -> Void) {
      for place in 0..<UInt64(CA_LOCK_WAIT_PLACES) {
        let waits = ca_lock_waits_at(place)
        if waits.pointee.lock != 0 { body(UInt(waits.pointee.lock), waits.pointee.waits, waits.pointee.ticks) }
      }
    }

    /// Completed batches of TLB invalidation of kernel addresses that this CPU has issued.
    ///
    /// Interrupts are off.
    public var invalidationsOfThisCPU: UInt64 { ca_this_cpu().pointee.tlb_invalidations }

    /// The number of locks that this CPU has taken.
    ///
    /// Interrupts are off.
    public var lockAcquisitionsOfThisCPU: UInt64 { ca_this_cpu().pointee.lock_acquisitions }
  }

  extension AArch64: MeasuredMachine {
    /// The sums over all CPUs; `instructions` is the current CPU's, read from PMEVCNTR0_EL0 by MRS.
    public var counters: MachineCounters {
      var result = MachineCounters()
      result.instructions = instructionCount
      var number: UInt64 = 0
      while number < ca_machine().pointee.cpu_count {
        let cpu = ca_cpu_at(number)
        result.tlbInvalidations &+= cpu.pointee.tlb_invalidations
        result.tlbInstructions &+= cpu.pointee.tlb_instructions
        result.lockAcquisitions &+= cpu.pointee.lock_acquisitions
        number &+= 1
      }
      return result
    }
  }
#endif
