// The buddy allocator: blocks of 2⁰ to 2¹⁰ page frames, free lists per NUMA node.
//
// Protocol
//   1. A node's lock guards its lists, its figures and the records of all its frames. No function holds two locks.
//   2. What a caller gets wrong is found under the lock, before anything is changed.
//   3. Frames are cleared, and errors made, after the lock was released.
//
// Invariants (`_checkInvariants()`)
//   a. Each usable frame belongs to exactly one block; a block of order n starts at a multiple of 2ⁿ frames, lies in
//      one range of RAM, and contains no reserved frame.
//   b. The first record of a block says `free` or `used` and its order, all others of it say `inside`.
//   c. A free block is in the list of its order and node, once; nothing else is in a list.
//   d. Two free blocks that are buddies of each other don't exist: what can be merged is merged.
//   e. Figures and the bit map of non-empty orders agree with the lists.
//
// Source: K. C. Knowlton, "A fast storage allocator", CACM 8(10), 1965; D. E. Knuth, TAOCP vol. 1, 2.5.

import KernelMachine
import Synchronization

/// Hands out and takes back physically contiguous blocks of page frames.
///
/// All state lies in memory that the caller supplies. The same sequence of calls gives the same frames.
public struct BuddyAllocator<M: Machine>: ~Copyable {
  @usableFromInline let records: UnsafeMutablePointer<FrameRecord>
  @usableFromInline let nodes: UnsafeMutablePointer<NodeRecord>
  @usableFromInline let ranges: UnsafeMutablePointer<RangeRecord>
  @usableFromInline let rangesEnd: UnsafeMutablePointer<RangeRecord>

  /// The machine whose frames these are.
  public let machine: M

  /// How many NUMA nodes there are.
  ///
  /// A node may be without memory.
  public let nodeCount: Int

  /// How many frames can be handed out: RAM without what is reserved.
  public let totalFrames: Int

  // A value that holds an atomic is passed by its address. Without one, each use of an allocator that is part of
  // another value would copy all of the above.
  @usableFromInline let passedByAddress = Atomic<UInt8>(0)

  /// The largest order there is: blocks of 1,024 frames, 4 MiB.
  @inlinable public static var maximumOrder: Int { 10 }

  /// How many bytes of metadata an allocator over this map needs: 12 per frame, and some.
  @inlinable public static func metadataByteCount(for map: borrowing PhysicalMemoryMap) -> Int {
    MetadataLayout(map).byteCount + MetadataLayout.alignment - 1
  }

  /// Makes an allocator to which all memory of the map, except what is reserved, is free.
  ///
  /// - Parameters:
  ///   - map: the memory. It must not change hands elsewhere while the allocator lives.
  ///   - metadata: at least ``metadataByteCount(for:)`` bytes, of any alignment and content, for as long as the
  ///     allocator lives. If they lie in the map's RAM, the map must say that they are reserved.
  ///   - machine: gives the locks, and clears frames.
  /// - Throws: when no memory is usable or the metadata is too small. No byte has been written then.
  /// - Complexity: O(frames).
  @inlinable public init(
    frames map: borrowing PhysicalMemoryMap, metadata: UnsafeMutableRawBufferPointer, machine: M
  ) throws(PhysicalMemoryError) {
    let prepared = try PreparedMetadata(map, in: metadata)
    self.records = prepared.records
    self.nodes = prepared.nodes
    self.ranges = prepared.ranges
    self.rangesEnd = prepared.ranges + map.memoryRangeCount
    self.nodeCount = map.nodeCount
    self.totalFrames = prepared.totalFrames
    self.machine = machine
  }
}

// The pointers lead to memory that is guarded by the nodes' locks (protocol 1) or constant after `init`.
extension BuddyAllocator: @unchecked Sendable where M: Sendable {}
