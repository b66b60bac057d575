// The machine of a kernel in C: the instructions common to arm64 are compiled in; where kernels differ, it calls C functions.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelMachine
  import KernelStacksCHeader

  /// An arm64 CPU at EL1, and the `ks_machine_` functions of the kernel around it.
  struct CMachine: PageTableMachine, AccessFlagMachine, ExclusiveAccessMachine {
    // MARK: Memory

    @inline(__always) var linearMapOffset: UInt { UInt(ks_state().pointee.linear_map_offset) }

    @inline(__always) func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
      UnsafeMutableRawPointer(bitPattern: address.rawValue &+ linearMapOffset).unsafelyUnwrapped
    }

    @inline(__always) func clear(_ address: VirtualAddress, byteCount: Int) {
      if byteCount > 0 { ca_clear_pages(address.rawValue, UInt64(byteCount)) }
    }

    // MARK: Page tables

    @inline(__always) var virtualAddressBits: Int {
      Int(truncatingIfNeeded: ks_state().pointee.virtual_address_bits)
    }

    @inline(__always) var kernelRoot: PhysicalAddress { PhysicalAddress(UInt(ks_state().pointee.kernel_root)) }

    @inline(__always) var memoryAttributes: MemoryAttributeIndices {
      MemoryAttributeIndices(
        normal: ks_state().pointee.normal_memory_index, device: ks_state().pointee.device_memory_index)
    }

    @inline(__always) func readEntry(at address: PhysicalAddress) -> PageTableEntry {
      PageTableEntry(rawValue: ca_load(address.rawValue &+ linearMapOffset))
    }

    @inline(__always) func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
      ca_store(address.rawValue &+ linearMapOffset, entry.rawValue)
    }

    @inline(__always) func publishEntries() {
      ca_dsb_ishst()
      ca_isb()
    }

    @inline(__always) func completeAccesses() { ca_dsb_ish() }

    func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
      _ = AArch64.dropTranslations(of: pages, in: space, scope: scope)
    }

    @inline(__always) var tracksDirtyPages: Bool { ks_state().pointee.tracks_dirty_pages != 0 }

    // MARK: Access flags

    @inline(__always) var updatesAccessFlags: Bool { ks_state().pointee.lends_pages != 0 }

    @inline(__always) func replaceEntry(
      _ expected: PageTableEntry, with entry: PageTableEntry, at address: PhysicalAddress
    ) -> Bool {
      ca_replace(address.rawValue &+ linearMapOffset, expected.rawValue, entry.rawValue) != 0
    }

    @inline(__always) func readEntry(atLinear address: VirtualAddress) -> PageTableEntry {
      PageTableEntry(rawValue: ca_load(address.rawValue))
    }

    @inline(__always) func writeEntry(_ entry: PageTableEntry, atLinear address: VirtualAddress) {
      ca_store(address.rawValue, entry.rawValue)
    }

    @inline(__always) func replaceEntry(
      _ expected: PageTableEntry, with entry: PageTableEntry, atLinear address: VirtualAddress
    ) -> Bool {
      ca_replace(address.rawValue, expected.rawValue, entry.rawValue) != 0
    }

    // MARK: Exclusive accesses

    @inline(__always) func updateEntry(
      atLinear address: VirtualAddress, _ update: (PageTableEntry) -> PageTableEntry?
    ) -> PageTableEntry? {
      let entry = PageTableEntry(rawValue: ca_load_exclusive(address.rawValue))
      guard let new = update(entry) else { return nil }
      return ca_store_exclusive(address.rawValue, new.rawValue) != 0 ? entry : nil
    }

    // MARK: CPUs

    @inline(__always) func relax() { ca_yield() }
    @inline(__always) var currentCPU: Int { Int(ks_machine_cpu()) }
    @inline(__always) var cpuCount: Int { Int(truncatingIfNeeded: ks_state().pointee.cpu_count) }
    @inline(__always) var currentNode: NodeID { NodeID(Int(ks_machine_node())) }

    @inline(__always) func disableInterrupts() -> InterruptState {
      InterruptState(rawValue: ks_machine_disable_interrupts())
    }

    @inline(__always) func restoreInterrupts(_ state: InterruptState) {
      ks_machine_restore_interrupts(state.rawValue)
    }

    @inline(__always) func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
      InterruptState(rawValue: ks_machine_lock(storage(lock)))
    }

    @inline(__always) func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
      ks_machine_unlock(storage(lock), state.rawValue)
    }

    @inline(__always) private func storage(
      _ lock: UnsafeMutablePointer<SpinLock>
    ) -> UnsafeMutablePointer<UInt64> {
      UnsafeMutableRawPointer(lock).assumingMemoryBound(to: UInt64.self)
    }
  }
#endif
