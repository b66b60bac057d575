// This kernel's machine: one CPU, RAM in the linear map, all TLB entries dropped whenever some must be.
//
// What each member means is said where the protocol declares it.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import Board
public import KernelStacks

/// QEMU's `virt` board with one CPU.
public struct Virt: PageTableMachine {
  /// The board; there is only one.
  public init() {}

  public var linearMapOffset: UInt { 0xffff_ffc0_0000_0000 }

  public func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(bitPattern: address.rawValue &+ linearMapOffset).unsafelyUnwrapped
  }

  public func clear(_ address: VirtualAddress, byteCount: Int) {
    guard let words = address.pointer?.assumingMemoryBound(to: UInt64.self) else { return }
    for index in 0..<byteCount / 8 { words[index] = 0 }
  }

  public var virtualAddressBits: Int { 39 }

  public var kernelRoot: PhysicalAddress { PhysicalAddress(board_kernel_table()) }

  public func readEntry(at address: PhysicalAddress) -> PageTableEntry {
    PageTableEntry(rawValue: pointer(to: address).load(as: UInt64.self))
  }

  public func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    pointer(to: address).storeBytes(of: entry.rawValue, as: UInt64.self)
  }

  public func publishEntries() { board_publish() }

  public func completeAccesses() { board_complete() }

  public func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    board_invalidate_all()
  }

  public var currentCPU: Int { 0 }
  public var cpuCount: Int { 1 }
  public var currentNode: NodeID { NodeID(0) }

  public func disableInterrupts() -> InterruptState {
    InterruptState(rawValue: UInt(board_disable_interrupts()))
  }

  public func restoreInterrupts(_ state: InterruptState) { board_restore_interrupts(UInt64(state.rawValue)) }

  public func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState { disableInterrupts() }

  public func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    restoreInterrupts(state)
  }
}
