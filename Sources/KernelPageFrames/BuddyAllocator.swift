// The buddy allocator: blocks of 2⁰ to 2¹⁰ page frames, free lists per NUMA node; above them, single frames per CPU.
//
//      allocate, free of one frame                                      allocate, free of a block
//          |        no lock                                                  |
//     +----------------+  +----------------+       +-----------------+       |
//     | lists of CPU 0 |  | lists of CPU 1 |       | zeroed frames   |       |
//     | ready | zeroed |  | ready | zeroed |       | of the node     |       |
//     +----------------+  +----------------+       +-----------------+       |
//            |  ^ a batch        |  ^                 ^ idle CPUs            |
//     - - - -v - - - - - - - - - v - - the node's lock| - - - - - - - - - - -v- - -
//     +--------------------------------------------------------------------------+
//     | blocks of the node, per order                                            |
//     +--------------------------------------------------------------------------+
//
// Protocol
//   1. A node's lock guards its blocks, its pool, its figures, and the records of all its frames that are neither handed
//      out nor in a CPU's list. No function holds two locks.
//   2. A caller's mistake is found before anything is changed: by the tag of the frame's record, which is replaced in
//      one atomic step where no lock is held.
//   3. Frames are cleared, and errors made, after the lock is released. A request that would be refused waits for frames
//      that are being cleared, which takes as long as clearing one: see BuddyAllocator+Zeroed.
//   4. CPUs' lists: see CPUFrameLists.
//
// Invariants (`_checkInvariants()`)
//   a. Each usable frame belongs to exactly one block; a block of order n starts at a multiple of 2ⁿ frames, lies in
//      one range of RAM, and contains no reserved frame.
//   b. The first record of a block says `free` or `used` and its order, all others of it say `inside`. That of a free
//      frame in a CPU's list or in a pool says `listed`; such a frame is no block's buddy.
//   c. A free block is in the list of its order and node, once; nothing else is in a list.
//   d. No two free blocks are buddies of each other: what can be merged is merged.
//   e. Figures and the bit map of non-empty orders agree with the lists.
//
// Source: K. C. Knowlton, "A fast storage allocator", CACM 8(10), 1965; D. E. Knuth, TAOCP vol. 1, 2.5.

import KernelMachine
import Synchronization

/// Hands out and takes back physically contiguous blocks of page frames.
///
/// All state lies in memory that the caller supplies. The same sequence of calls gives the same frames. Operations may be
/// called on several CPUs at once.
public struct BuddyAllocator<M: Machine>: ~Copyable {
  let records: UnsafeMutablePointer<FrameRecord>
  let nodes: UnsafeMutablePointer<NodeRecord>
  let cpuLists: UnsafeMutablePointer<CPUFrameLists>
  let ranges: UnsafeMutablePointer<RangeRecord>
  let rangesEnd: UnsafeMutablePointer<RangeRecord>

  /// The machine whose frames these are.
  public let machine: M

  /// The number of NUMA nodes; a node may have no memory.
  public let nodeCount: Int

  /// The number of CPUs that keep lists of free frames, numbered from 0; 0 for none.
  public let listedCPUs: Int

  // A value that holds an atomic is passed by address. Without one, each use of an allocator that is part of another value
  // would copy all of the above.
  let usableFrames: Atomic<Int>

  /// 1 while a CPU adds or removes memory.
  let isChangingMemory = Atomic<UInt32>(0)

  /// The number of frames that can be handed out: RAM without what is reserved.
  public var totalFrames: Int {
    @inline(__always) borrowing get { usableFrames.load(ordering: .relaxed) }
  }

  /// The largest order: blocks of 1,024 frames, 4 MiB.
  public static var maximumOrder: Int { 10 }

  /// The bytes of metadata that an allocator over this map needs: 12 per frame, 128 per CPU, and a little more.
  ///
  /// - Parameter cpuCount: the number of CPUs that are to keep lists.
  public static func metadataByteCount(
    for map: borrowing PhysicalMemoryMap, cpuCount: Int = 0
  ) -> Int {
    MetadataLayout(map, cpuCount: cpuCount).byteCount + MetadataLayout.alignment - 1
  }

  /// Makes an allocator in which all memory of the map that is not reserved is free.
  ///
  /// - Parameters:
  ///   - map: the memory. It has no other owner while the allocator lives.
  ///   - metadata: at least ``metadataByteCount(for:cpuCount:)`` bytes, of any alignment and content, for as long as the
  ///     allocator lives. If they lie in the map's RAM, the map must say that they are reserved.
  ///   - machine: provides the locks, and clears frames.
  ///   - cpuCount: the CPUs with lower numbers keep lists of single free frames, so that their fast path takes no lock.
  ///     0: every operation takes its node's lock, and free frames are always merged.
  /// - Throws: ``PhysicalMemoryError`` when no memory is usable, there are too many frames, the metadata is too small, or
  ///   `cpuCount` is out of range. No byte has been written then.
  /// - Complexity: O(frames).
  public init(
    frames map: borrowing PhysicalMemoryMap, metadata: UnsafeMutableRawBufferPointer, machine: M,
    cpuCount: Int = 0
  ) throws(PhysicalMemoryError) {
    let prepared = try PreparedMetadata(map, cpuCount: cpuCount, in: metadata)
    self.records = prepared.records
    self.nodes = prepared.nodes
    self.cpuLists = prepared.cpuLists
    self.ranges = prepared.ranges
    self.rangesEnd = prepared.ranges + map.memoryRangeCount
    self.nodeCount = map.nodeCount
    self.usableFrames = Atomic(prepared.totalFrames)
    self.listedCPUs = cpuCount
    self.machine = machine
  }
}

// The pointers lead to memory that is guarded by the nodes' locks (protocol 1), by the protocol of CPUFrameLists, or
// constant after `init`.
extension BuddyAllocator: @unchecked Sendable where M: Sendable {}
