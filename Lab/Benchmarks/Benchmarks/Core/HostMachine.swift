// A machine with one CPU and no MMU: the least that the core needs to run, the same as machine.h of the yardstick.
//
//   physical memory   the process's own, by its addresses
//   page tables       in it; no MMU walks them
//   stacks            are mapped in the tables alone, so clearing is left out on both sides
//   locks             a word that is exchanged

import KernelStacks
import Synchronization

struct HostMachine: PageTableMachine {
  let layout: AddressLayout
  let kernelRoot: PhysicalAddress

  /// - Parameter root: a page that reads as zero.
  init(root: UnsafeMutableRawPointer) throws {
    layout = try AddressLayout(virtualAddressBits: 39)
    kernelRoot = PhysicalAddress(UInt(bitPattern: root))
  }

  var linearMapOffset: UInt { layout.linearMapOffset }
  var virtualAddressBits: Int { layout.virtualAddressBits }
  var currentCPU: Int { 0 }
  var cpuCount: Int { 1 }
  var currentNode: NodeID { NodeID(0) }

  func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(bitPattern: address.rawValue).unsafelyUnwrapped
  }

  func clear(_ address: VirtualAddress, byteCount: Int) {}

  // Why the casts are sound: (1) entries are aligned words in memory that the process owns; (2) an Atomic<UInt64> is stored
  // as a UInt64.
  private func word(_ address: PhysicalAddress) -> UnsafeMutablePointer<Atomic<UInt64>> {
    pointer(to: address).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  func readEntry(at address: PhysicalAddress) -> PageTableEntry {
    PageTableEntry(rawValue: word(address).pointee.load(ordering: .relaxed))
  }

  func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {
    word(address).pointee.store(entry.rawValue, ordering: .relaxed)
  }

  func publishEntries() { atomicMemoryFence(ordering: .acquiringAndReleasing) }

  func completeAccesses() { atomicMemoryFence(ordering: .sequentiallyConsistent) }

  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    atomicMemoryFence(ordering: .acquiringAndReleasing)
  }

  func disableInterrupts() -> InterruptState { InterruptState(rawValue: 0) }
  func restoreInterrupts(_ state: InterruptState) {}

  func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState {
    let word = UnsafeMutableRawPointer(lock).assumingMemoryBound(to: Atomic<UInt64>.self)
    while word.pointee.exchange(1, ordering: .acquiring) != 0 {}
    return InterruptState(rawValue: 0)
  }

  func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {
    UnsafeMutableRawPointer(lock).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
      .store(0, ordering: .releasing)
  }
}
