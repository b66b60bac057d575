// The allocators and the processes of a kernel: side by side, each at a place of its own, and found through a handle.
//
//     frame allocator     vmalloc area     stacks     processes
//            ^                 ^             ^ |         |
//            |                 |             | |         |        a handle: of no size where places are static,
//            +-----------------+-------------+-+---------+        pointers elsewhere
//
// Each is made after those that it has handles to, and goes before them.

import KernelStacks

/// A handle to the allocators of a kernel, cheap to copy, that owns none of them.
public protocol KernelParts {
  /// The machine.
  associatedtype M: PageTableMachine
  /// The source of page frames: a handle to the frame allocator, or to a layer before it.
  associatedtype Frames: ProcessFrameSource

  /// The machine.
  var machine: M { get }
  /// The source of page frames.
  var frames: Frames { get }
  /// The frame allocator.
  var frameAllocator: UnsafeMutablePointer<BuddyAllocator<M>> { get }
  /// The vmalloc area.
  var arena: UnsafeMutablePointer<VmallocArea<M>> { get }
  /// The allocator of kernel stacks.
  var stacks: UnsafeMutablePointer<PartStacks<Self>> { get }
}

/// The allocator of kernel stacks beside the other parts of a kernel.
public typealias PartStacks<Parts: KernelParts> = ThreadStackAllocator<Parts.M, Parts.Frames, PartArena<Parts>>

/// A handle to the vmalloc area, for the allocator of stacks.
public struct PartArena<Parts: KernelParts>: StackArena {
  private let parts: Parts

  /// A handle to the vmalloc area among these parts.
  public init(_ parts: Parts) { self.parts = parts }

  /// Reserves address space for stacks, once.
  public func reserveStackArea<Frames: FrameSource & ~Copyable>(
    byteCount: Int, alignment: Int, phase: Int, frames: borrowing Frames
  ) throws(StackArenaError) -> VirtualAddress {
    try parts.arena.pointee.reserveStackArea(
      byteCount: byteCount, alignment: alignment, phase: phase, frames: frames)
  }

  /// Gives the reserved part back.
  public func releaseStackArea<Frames: FrameSource & ~Copyable>(
    at base: VirtualAddress, frames: borrowing Frames
  ) {
    parts.arena.pointee.releaseStackArea(at: base, frames: frames)
  }

  /// Finds the last-level entry of `address`, building the tables above it where they are missing.
  public func leafEntry<Frames: FrameSource & ~Copyable>(
    at address: VirtualAddress, node: NodeID?, frames: borrowing Frames
  ) throws(FrameSourceError) -> PhysicalAddress {
    try parts.arena.pointee.leafEntry(at: address, node: node, frames: frames)
  }

  /// Finds the last-level entry of `address` if its table exists.
  public func existingLeafEntry(at address: VirtualAddress) -> PhysicalAddress? {
    parts.arena.pointee.existingLeafEntry(at: address)
  }

  /// Gives back every table all of whose entries are empty and whose span lies in `range`.
  public func releaseTables<Frames: FrameSource & ~Copyable>(
    covering range: VirtualAddressRange, to frames: borrowing Frames
  ) -> Int {
    parts.arena.pointee.releaseTables(covering: range, to: frames)
  }

  /// The entry that maps a frame as stack memory.
  public func stackEntry(for frame: PageFrame) -> PageTableEntry { parts.arena.pointee.stackEntry(for: frame) }
}
