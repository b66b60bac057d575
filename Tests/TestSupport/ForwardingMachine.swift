// The common part of machines around the simulated one: it forwards all operations that they do not change.

import KernelStacks
import SimulatedMachine

/// A machine that forwards to a simulated one all operations that it does not define itself.
package protocol ForwardingMachine: PageTableMachine, Sendable {
  /// The simulated machine.
  var base: Simulated { get }
}

extension ForwardingMachine {
  package var linearMapOffset: UInt { base.linearMapOffset }
  package var virtualAddressBits: Int { base.virtualAddressBits }
  package var kernelRoot: PhysicalAddress { base.kernelRoot }
  package var tracksDirtyPages: Bool { base.tracksDirtyPages }
  package var cpuCount: Int { base.cpuCount }
  package var currentCPU: Int { base.currentCPU }
  package var currentNode: NodeID { base.currentNode }
  package func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer { base.pointer(to: address) }
  package func clear(_ address: VirtualAddress, byteCount: Int) { base.clear(address, byteCount: byteCount) }
  package func readEntry(at address: PhysicalAddress) -> PageTableEntry { base.readEntry(at: address) }
  package func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    base.writeEntry(entry, at: address)
  }
  package func publishEntries() { base.publishEntries() }
  package func completeAccesses() { base.completeAccesses() }
  package func relax() { base.relax() }
  package func disableInterrupts() -> InterruptState { base.disableInterrupts() }
  package func restoreInterrupts(_ state: InterruptState) { base.restoreInterrupts(state) }
  package func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState { base.lock(lock) }
  package func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    base.unlock(lock, restoring: state)
  }
}
