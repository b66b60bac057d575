// The machine that the bootable kernel runs on: a handle without storage, for CPU state and CAArch64's static words.
#if hasFeature(Embedded)
  import CAArch64
  public import KernelMachine

  // The protocols document what has no comment here.
  // swift-format-ignore: AllPublicDeclarationsHaveDocumentation

  /// An arm64 CPU at EL1, its MMU, and its locks.
  public struct AArch64: PageTableMachine, AccessFlagMachine, Sendable {
    /// Makes a handle to the only machine.
    public init() {}

    // MARK: Memory

    public var linearMapOffset: UInt { UInt(ca_machine().pointee.linear_map_offset) }

    public func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
      UnsafeMutableRawPointer(bitPattern: address.rawValue &+ linearMapOffset).unsafelyUnwrapped
    }

    public func clear(_ address: VirtualAddress, byteCount: Int) {
      if byteCount > 0 { ca_clear_pages(address.rawValue, UInt64(byteCount)) }
    }

    // MARK: Page tables

    public var virtualAddressBits: Int {
      Int(truncatingIfNeeded: ca_machine().pointee.virtual_address_bits)
    }

    public var kernelRoot: PhysicalAddress {
      PhysicalAddress(UInt(ca_machine().pointee.kernel_root))
    }

    public func readEntry(at address: PhysicalAddress) -> PageTableEntry {
      PageTableEntry(rawValue: ca_load(address.rawValue &+ linearMapOffset))
    }

    public func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
      ca_store(address.rawValue &+ linearMapOffset, entry.rawValue)
    }

    public func publishEntries() {
      ca_dsb_ishst()
      ca_isb()
    }

    public func completeAccesses() { ca_dsb_ish() }

    public var tracksDirtyPages: Bool { ca_machine().pointee.tracks_dirty_pages != 0 }

    public var updatesAccessFlags: Bool { ca_machine().pointee.updates_access_flags != 0 }

    public func replaceEntry(
      _ expected: PageTableEntry, with entry: PageTableEntry, at address: PhysicalAddress
    ) -> Bool {
      ca_replace_untouched(address.rawValue &+ linearMapOffset, expected.rawValue, entry.rawValue) != 0
    }

    public func readEntry(atLinear address: VirtualAddress) -> PageTableEntry {
      PageTableEntry(rawValue: ca_load(address.rawValue))
    }

    public func writeEntry(_ entry: PageTableEntry, atLinear address: VirtualAddress) {
      ca_store(address.rawValue, entry.rawValue)
    }

    public func replaceEntry(
      _ expected: PageTableEntry, with entry: PageTableEntry, atLinear address: VirtualAddress
    ) -> Bool {
      ca_replace_untouched(address.rawValue, expected.rawValue, entry.rawValue) != 0
    }

    // MARK: CPUs

    public var currentCPU: Int { Int(truncatingIfNeeded: ca_cpu_number()) }

    public var cpuCount: Int { Int(truncatingIfNeeded: ca_machine().pointee.cpu_count) }

    public var currentNode: NodeID { NodeID(Int(truncatingIfNeeded: ca_this_cpu().pointee.node)) }

    public func disableInterrupts() -> InterruptState {
      InterruptState(rawValue: UInt(ca_disable_interrupts()))
    }

    public func restoreInterrupts(_ state: InterruptState) {
      ca_restore_interrupts(UInt64(state.rawValue))
    }

    public func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
      let state = ca_disable_interrupts()
      ca_this_cpu().pointee.lock_acquisitions &+= 1
      ca_lock(UnsafeMutableRawPointer(lock).assumingMemoryBound(to: UInt64.self))
      return InterruptState(rawValue: UInt(state))
    }

    public func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
      ca_unlock(UnsafeMutableRawPointer(lock).assumingMemoryBound(to: UInt64.self))
      ca_restore_interrupts(UInt64(state.rawValue))
    }
  }
#endif
