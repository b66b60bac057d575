// The machine as Linux supplies it: CPU, MMU, locks.

import KernelMachine
import LinuxServices

/// Linux on arm64, reached through the functions of `LinuxServices.h`.
struct LinuxMachine: Machine {
  var linearMapOffset: UInt { swift_stacks_linear_map_offset() }

  func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(bitPattern: address.rawValue &+ linearMapOffset).unsafelyUnwrapped
  }

  func clear(_ address: VirtualAddress, byteCount: Int) { swift_stacks_clear(address.rawValue, byteCount) }

  // MARK: Page tables. Entries are named by their addresses in the linear map, which is where Linux keeps its tables.

  var virtualAddressBits: Int { Int(truncatingIfNeeded: swift_stacks_va_bits()) }

  func readEntry(at address: PhysicalAddress) -> PageTableEntry {
    PageTableEntry(rawValue: swift_stacks_read_entry(address.rawValue &+ linearMapOffset))
  }

  func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    swift_stacks_write_entry(address.rawValue &+ linearMapOffset, entry.rawValue)
  }

  func readEntry(atLinear address: VirtualAddress) -> PageTableEntry {
    PageTableEntry(rawValue: swift_stacks_read_entry(address.rawValue))
  }

  func writeEntry(_ entry: PageTableEntry, atLinear address: VirtualAddress) {
    swift_stacks_write_entry(address.rawValue, entry.rawValue)
  }

  func publishEntries() { swift_stacks_publish_entries() }

  func completeAccesses() { swift_stacks_complete_accesses() }

  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    swift_stacks_flush_tlb_kernel_range(pages.lowerBound.rawValue, pages.upperBound.rawValue)
  }

  // MARK: CPUs

  var currentCPU: Int { Int(truncatingIfNeeded: swift_stacks_cpu()) }
  var cpuCount: Int { Int(truncatingIfNeeded: swift_stacks_cpu_count()) }
  var currentNode: NodeID { NodeID(Int(truncatingIfNeeded: swift_stacks_cpu_node())) }

  func disableInterrupts() -> InterruptState { InterruptState(rawValue: swift_stacks_irq_save()) }
  func restoreInterrupts(_ state: InterruptState) { swift_stacks_irq_restore(state.rawValue) }

  func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
    InterruptState(rawValue: swift_stacks_lock(storage(lock)))
  }

  func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    swift_stacks_unlock(storage(lock), state.rawValue)
  }

  private func storage(_ lock: UnsafeMutablePointer<SpinLock>) -> UnsafeMutablePointer<UInt64> {
    UnsafeMutableRawPointer(lock).assumingMemoryBound(to: UInt64.self)
  }
}
