// The layout and the size of the metadata memory.
//
//   +-----------------+---------------+-----------------+------------------------------------------+-----------------+
//   | NodeRecord      | CPUFrameLists | RangeRecord     | FrameRecord per frame, each range filled | FrameRecord per |
//   | per node, 192 B | per CPU, 128 B| per range, 32 B | up to whole blocks of order 10, 12 B     | free list, 12 B |
//   +-----------------+---------------+-----------------+------------------------------------------+-----------------+
//                                                       ^ index 0                                  ^ listHeads
//
// A frame's *index* is its number minus its range's bias. The bias is a multiple of 1,024, so an index has the alignment
// of its frame: flipping one bit of a block's index gives its buddy, which always lies in the table and in the same
// range. Frames at the edge of a range find an `absent` record where their buddy would be.

import KernelMachine

/// The record of one node: its lock, and the heads and figures of its free lists.
///
/// It has three cache lines of its own, so that nodes don't disturb each other. The last is the pool's, so that reading
/// the pool's count does not contend with CPUs that take the lock.
struct NodeRecord {
  /// Guards everything below, the node's free lists, and the records of all frames of the node.
  ///
  /// Must stay first: its address is the record's.
  var lock = SpinLock()
  /// Bit *n* is set exactly if the list of order *n* is not empty.
  var nonEmptyOrders: UInt = 0
  /// Free frames in blocks, in the pool, and on their way to it.
  var freeFrames = 0
  var totalFrames = 0
  var freeBlocks = InlineArray<11, UInt32>(repeating: 0)
  /// The index of the head record of the list of order 0; those of higher orders follow.
  var listHeads: UInt32
  var padding = InlineArray<6, UInt64>(repeating: 0)
  /// The pool of zeroed frames: a list like a CPU's, but under the lock.
  ///
  /// Must stay at byte 128.
  var zeroedPool = FrameListWord.empty
  /// The most frames that the pool holds.
  var zeroedPoolLimit = 0
  /// The free frames that CPUs are clearing for the pool: in no list, and still free.
  var clearing = 0
  /// The pauses in force: while it is not 0, no CPU begins to clear a frame.
  var pauses = 0
  /// The frames cleared on request; the first node's counts those of all.
  ///
  /// Must stay at byte 160. Not under the lock.
  var clearedOnRequest: UInt = 0
  var poolPadding = InlineArray<3, UInt64>(repeating: 0)

  init(listHeads: UInt32) { self.listHeads = listHeads }
}

/// One range of RAM; constant once the allocator is made.
struct RangeRecord {
  let firstFrame: UInt
  let frameCount: UInt
  /// A frame's number minus the index of its record, modulo 2⁶⁴.
  let bias: UInt
  let node: Int

  init(firstFrame: UInt, frameCount: UInt, bias: UInt, node: Int) {
    self.firstFrame = firstFrame
    self.frameCount = frameCount
    self.bias = bias
    self.node = node
  }
}

/// Offsets of the parts of the metadata memory from its start, rounded up to a cache line.
struct MetadataLayout {
  static var alignment: Int { 64 }

  let listsOffset: Int
  let rangesOffset: Int
  let recordsOffset: Int
  /// The number of records of frames and padding: the index of the first free list's head.
  let listHeads: Int
  let byteCount: Int

  init(_ map: borrowing PhysicalMemoryMap, cpuCount: Int) {
    var records = 0
    for index in 0..<map.memoryRangeCount { records += Self.paddedBounds(map.memoryRange(at: index)).count }
    listHeads = records
    listsOffset = map.nodeCount * MemoryLayout<NodeRecord>.stride
    rangesOffset = listsOffset + max(cpuCount, 0) * MemoryLayout<CPUFrameLists>.stride
    recordsOffset = rangesOffset + map.memoryRangeCount * MemoryLayout<RangeRecord>.stride
    byteCount = recordsOffset + (records + map.nodeCount * 11) * MemoryLayout<FrameRecord>.stride
  }

  /// The range, extended on both sides to whole blocks of the largest order.
  static func paddedBounds(_ range: MemoryRange) -> (first: UInt, count: Int) {
    let first = range.firstFrame.number & ~1023
    return (first, Int((range.endFrame.number + 1023) & ~1023 - first))
  }
}
