// A machine with a planted mistake.

import KernelStacks
import SimulatedMachine

/// A machine that leaves out what real CPUs need and a simulation without their freedoms would not miss.
package struct Forgetful: Machine, Sendable {
  /// What a machine may leave out.
  package enum Duty: CaseIterable, Sendable {
    /// Table entries need not have arrived.
    case publication
    /// No translation is ever dropped.
    case invalidation
    /// Translations of the first page of a range are dropped only.
    case allButTheFirstPage
    /// Translations are dropped, the entries of tables above them are not.
    case tableEntries
  }

  let base: Simulated
  let forgotten: Duty?

  /// - Parameter forgotten: what is left out; with `nil` nothing is.
  package init(_ base: Simulated, forgetting forgotten: Duty?) {
    self.base = base
    self.forgotten = forgotten
  }

  package func publishEntries() {
    if forgotten != .publication { base.publishEntries() }
  }

  package func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    switch forgotten {
    case .invalidation: base.publishEntries()
    case .allButTheFirstPage:
      base.invalidate(VirtualAddressRange(pages.lowerBound, byteCount: 4096), in: space, scope: scope)
    case .tableEntries: base.invalidate(pages, in: space, scope: .leaves)
    case .publication, nil: base.invalidate(pages, in: space, scope: scope)
    }
  }

  package var linearMapOffset: UInt { base.linearMapOffset }
  package var virtualAddressBits: Int { base.virtualAddressBits }
  package var kernelRoot: PhysicalAddress { base.kernelRoot }
  package var cpuCount: Int { base.cpuCount }
  package var currentCPU: Int { base.currentCPU }
  package var currentNode: NodeID { base.currentNode }
  package var counters: MachineCounters { base.counters }
  package func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer { base.pointer(to: address) }
  package func clear(_ address: VirtualAddress, byteCount: Int) { base.clear(address, byteCount: byteCount) }
  package func readEntry(at address: PhysicalAddress) -> PageTableEntry { base.readEntry(at: address) }
  package func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    base.writeEntry(entry, at: address)
  }
  package func disableInterrupts() -> InterruptState { base.disableInterrupts() }
  package func restoreInterrupts(_ state: InterruptState) { base.restoreInterrupts(state) }
  package func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState { base.lock(lock) }
  package func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    base.unlock(lock, restoring: state)
  }
}
