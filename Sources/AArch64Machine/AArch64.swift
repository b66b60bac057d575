// The machine that the bootable kernel runs on: a handle without storage, for CPU state and CAArch64's static words.
#if hasFeature(Embedded)
  import CAArch64
  public import KernelMachine

  /// An arm64 CPU at EL1, its MMU, and its locks.
  public struct AArch64: PageTableMachine, AccessFlagMachine, ExclusiveAccessMachine, Sendable {
    /// Makes a handle to the only machine.
    public init() {}

    // MARK: Memory

    /// What boot code has stored; an LDR.
    public var linearMapOffset: UInt { UInt(ca_machine().pointee.linear_map_offset) }

    /// The address in the linear map.
    public func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
      UnsafeMutableRawPointer(bitPattern: address.rawValue &+ linearMapOffset).unsafelyUnwrapped
    }

    /// Clears memory by DC ZVA, or by STP where the CPU prohibits that.
    public func clear(_ address: VirtualAddress, byteCount: Int) {
      if byteCount > 0 { ca_clear_pages(address.rawValue, UInt64(byteCount)) }
    }

    // MARK: Page tables

    /// 64 less TCR_EL1.T1SZ, as boot code has stored it; an LDR.
    public var virtualAddressBits: Int {
      Int(truncatingIfNeeded: ca_machine().pointee.virtual_address_bits)
    }

    /// What TTBR1_EL1 holds, as boot code has stored it; an LDR.
    public var kernelRoot: PhysicalAddress {
      PhysicalAddress(UInt(ca_machine().pointee.kernel_root))
    }

    /// Reads an entry in the linear map by one LDR of 64 bits.
    public func readEntry(at address: PhysicalAddress) -> PageTableEntry {
      PageTableEntry(rawValue: ca_load(address.rawValue &+ linearMapOffset))
    }

    /// Writes an entry in the linear map by one STR of 64 bits.
    public func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
      ca_store(address.rawValue &+ linearMapOffset, entry.rawValue)
    }

    /// Orders stores for table walkers by DSB ISHST, then this CPU's own fetches and walks by ISB.
    public func publishEntries() {
      ca_dsb_ishst()
      ca_isb()
    }

    /// Waits by DSB ISH.
    public func completeAccesses() { ca_dsb_ish() }

    /// Whether TCR_EL1.HD is set (FEAT_HAFDBS); an LDR.
    public var tracksDirtyPages: Bool { ca_machine().pointee.tracks_dirty_pages != 0 }

    /// Whether TCR_EL1.HA is set (FEAT_HAFDBS); an LDR.
    public var updatesAccessFlags: Bool { ca_machine().pointee.updates_access_flags != 0 }

    /// Replaces an untouched entry by one CAS (FEAT_LSE).
    public func replaceEntry(
      _ expected: PageTableEntry, with entry: PageTableEntry, at address: PhysicalAddress
    ) -> Bool {
      ca_replace(address.rawValue &+ linearMapOffset, expected.rawValue, entry.rawValue) != 0
    }

    /// Reads an entry by one LDR of 64 bits.
    public func readEntry(atLinear address: VirtualAddress) -> PageTableEntry {
      PageTableEntry(rawValue: ca_load(address.rawValue))
    }

    /// Writes an entry by one STR of 64 bits.
    public func writeEntry(_ entry: PageTableEntry, atLinear address: VirtualAddress) {
      ca_store(address.rawValue, entry.rawValue)
    }

    /// Replaces an untouched entry by one CAS (FEAT_LSE).
    public func replaceEntry(
      _ expected: PageTableEntry, with entry: PageTableEntry, atLinear address: VirtualAddress
    ) -> Bool {
      ca_replace(address.rawValue, expected.rawValue, entry.rawValue) != 0
    }

    /// Updates an entry by LDAXR and STXR, with and without FEAT_LSE.
    public func updateEntry(
      atLinear address: VirtualAddress, _ update: (PageTableEntry) -> PageTableEntry?
    ) -> PageTableEntry? {
      let entry = PageTableEntry(rawValue: ca_load_exclusive(address.rawValue))
      guard let new = update(entry) else { return nil }
      return ca_store_exclusive(address.rawValue, new.rawValue) != 0 ? entry : nil
    }

    // MARK: CPUs

    /// Hints by YIELD.
    public func relax() { ca_yield() }

    /// Reads TPIDRRO_EL0 by MRS.
    public var currentCPU: Int { Int(truncatingIfNeeded: ca_cpu_number()) }

    /// What boot code has stored; an LDR.
    public var cpuCount: Int { Int(truncatingIfNeeded: ca_machine().pointee.cpu_count) }

    /// Reads the record that TPIDRRO_EL0 selects: MRS, LDR.
    public var currentNode: NodeID { NodeID(Int(truncatingIfNeeded: ca_this_cpu().pointee.node)) }

    /// Reads DAIF by MRS, then masks IRQ and FIQ by MSR DAIFSet.
    public func disableInterrupts() -> InterruptState {
      InterruptState(rawValue: UInt(ca_disable_interrupts()))
    }

    /// Writes DAIF by MSR.
    public func restoreInterrupts(_ state: InterruptState) {
      ca_restore_interrupts(UInt64(state.rawValue))
    }

    /// Takes the lock by LDAXR and STXR, or by CASA (FEAT_LSE), with interrupts masked before.
    public func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
      let state = ca_disable_interrupts()
      ca_this_cpu().pointee.lock_acquisitions &+= 1
      ca_lock(UnsafeMutableRawPointer(lock).assumingMemoryBound(to: UInt64.self))
      return InterruptState(rawValue: UInt(state))
    }

    /// Releases the lock by STLRB, then restores DAIF by MSR.
    public func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
      ca_unlock(UnsafeMutableRawPointer(lock).assumingMemoryBound(to: UInt64.self))
      ca_restore_interrupts(UInt64(state.rawValue))
    }
  }
#endif
