// The slots' addresses and last-level entries from Linux's vmalloc area.

import KernelMachine
import LinuxServices

/// One area of Linux's vmalloc space, whose tables Linux builds and keeps.
struct LinuxArena: StackArena {
  func reserveStackArea<Frames: FrameSource & ~Copyable>(
    byteCount: Int, alignment: Int, phase: Int, frames: borrowing Frames
  ) throws(StackArenaError) -> VirtualAddress {
    let base = swift_stacks_reserve_area(byteCount, alignment, phase)
    guard base != 0 else { throw .noAddressSpace(requestedBytes: byteCount, largestGapBytes: 0) }
    return VirtualAddress(base)
  }

  /// The allocator lives as long as the kernel, and so does its area.
  func releaseStackArea<Frames: FrameSource & ~Copyable>(at base: VirtualAddress, frames: borrowing Frames) {}

  func leafEntry<Frames: FrameSource & ~Copyable>(
    at address: VirtualAddress, node: NodeID?, frames: borrowing Frames
  ) throws(FrameSourceError) -> PhysicalAddress {
    let entry = swift_stacks_leaf_entry(
      address.rawValue, node.map { Int32(truncatingIfNeeded: $0.index) } ?? -1)
    guard entry != 0 else {
      throw .refused(
        FrameRefusal(
          order: 0, purpose: .pageTable, freeFrames: swift_stacks_free_page_count(), largestFreeOrder: -1))
    }
    return PhysicalAddress(entry)
  }

  /// Not asked: the allocator remembers where its entries are.
  func existingLeafEntry(at address: VirtualAddress) -> PhysicalAddress? { nil }

  /// Linux keeps the tables of its vmalloc area.
  func releaseTables<Frames: FrameSource & ~Copyable>(
    covering range: VirtualAddressRange, to frames: borrowing Frames
  ) -> Int { 0 }

  func stackEntry(for frame: PageFrame) -> PageTableEntry {
    PageTableEntry(rawValue: UInt64(frame.number) &<< 12 | swift_stacks_page_attributes())
  }
}
