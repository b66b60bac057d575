// The ranges of RAM with their NUMA nodes, and the ranges that must not be touched. One CPU builds a map, at boot.
//
// Both lists are kept sorted by address and free of overlaps, so that one walk over both suffices:
//
//   RAM        |======= node 0 =======|======= node 1 =======|         |=== node 1 ===|
//   reserved     |##|        |####|                                        |###########|##|

import KernelMachine
import Synchronization

/// A run of page frames of RAM that belong to one NUMA node.
public struct MemoryRange: Equatable, Sendable {
  /// The first frame.
  public var firstFrame: PageFrame
  /// The number of frames.
  public var frameCount: Int
  /// The node that the frames are local to.
  public var node: NodeID

  /// A run of frames.
  public init(firstFrame: PageFrame, frameCount: Int, node: NodeID) {
    self.firstFrame = firstFrame
    self.frameCount = frameCount
    self.node = node
  }

  /// The first frame above the range.
  public var endFrame: PageFrame { firstFrame + frameCount }
}

/// A run of page frames that must not be handed out: the kernel's image, a device tree, firmware.
public struct ReservedRange: Equatable, Sendable {
  /// The first frame.
  public var firstFrame: PageFrame
  /// The number of frames.
  public var frameCount: Int

  /// A run of frames.
  public init(firstFrame: PageFrame, frameCount: Int) {
    self.firstFrame = firstFrame
    self.frameCount = frameCount
  }

  /// The first frame above the range.
  public var endFrame: PageFrame { firstFrame + frameCount }
}

/// A description of physical memory, of fixed size, made once at boot.
///
/// RAM is rounded inwards to whole frames, reserved ranges are rounded outwards: a frame counts as usable only if all
/// of its bytes are RAM and none is reserved.
public struct PhysicalMemoryMap: ~Copyable, Sendable {
  var memory = InlineArray<32, MemoryRange>(
    repeating: MemoryRange(firstFrame: PageFrame(0), frameCount: 0, node: NodeID(0)))
  var reserved = InlineArray<64, ReservedRange>(
    repeating: ReservedRange(firstFrame: PageFrame(0), frameCount: 0))

  /// Gives the map an address: a value of 1.8 KiB is then passed by reference, and is not copied to boot stacks.
  private let identity = Atomic<UInt8>(0)

  /// The number of ranges of RAM.
  public private(set) var memoryRangeCount = 0
  /// The number of reserved ranges, once those that overlap or touch have become one.
  public private(set) var reservedRangeCount = 0
  /// The number of NUMA nodes: one more than the largest node number of any range of RAM.
  public private(set) var nodeCount = 0
  /// The number of frames of RAM, reserved or not.
  public private(set) var totalFrames = 0

  /// The most ranges of RAM that a map can hold.
  public static var memoryRangeLimit: Int { 32 }
  /// The most reserved ranges, not overlapping or touching each other, that a map can hold.
  public static var reservedRangeLimit: Int { 64 }
  /// The most NUMA nodes that a map can have.
  public static var nodeLimit: Int { 64 }

  /// A map without any RAM.
  public init() {}

  /// Makes an empty map in the caller's memory, for boot stacks that have no room for a map, not even while it is made.
  ///
  /// Why this use of memory is sound: every field of an empty map is zero, and none needs more than its bytes.
  ///
  /// - Parameter memory: at least ``byteCount`` bytes, aligned to 8, that nothing else uses.
  public static func makeEmpty(in memory: UnsafeMutableRawPointer) -> UnsafeMutablePointer<PhysicalMemoryMap> {
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    return memory.bindMemory(to: PhysicalMemoryMap.self, capacity: 1)
  }

  /// The size of a map, in bytes.
  public static var byteCount: Int { MemoryLayout<PhysicalMemoryMap>.size }

  // MARK: Building

  /// Adds RAM, rounded inwards to whole frames.
  ///
  /// - Parameters:
  ///   - start: where it begins; need not be aligned.
  ///   - byteCount: its length; need not be a multiple of a page.
  ///   - node: the NUMA node that it is local to.
  /// - Throws: ``PhysicalMemoryError`` when the range is empty, holds no whole frame, ends beyond 48 bits, or overlaps RAM
  ///   that is there already, when the node's number is not below ``nodeLimit``, or when the map is full. The map is then
  ///   as before.
  public mutating func addMemory(
    start: PhysicalAddress, byteCount: Int, node: NodeID = NodeID(0)
  ) throws(PhysicalMemoryError) {
    let end = try Self.end(of: start, byteCount: byteCount)
    guard node.index >= 0, node.index < Self.nodeLimit else { throw .invalidNode(node, limit: Self.nodeLimit) }
    let first = PageFrame((start.rawValue &+ 4095) &>> 12)
    let limit = PageFrame(end &>> 12)
    guard first < limit else { throw .smallerThanFrame(start, byteCount: byteCount) }

    var position = 0
    while position < memoryRangeCount, memory[position].firstFrame < limit {
      if first < memory[position].endFrame {
        throw .overlappingMemory(start, earlier: memory[position].firstFrame.physicalAddress)
      }
      position += 1
    }
    guard memoryRangeCount < Self.memoryRangeLimit else {
      throw .tooManyMemoryRanges(limit: Self.memoryRangeLimit)
    }

    var last = memoryRangeCount
    while last > position {
      memory[last] = memory[last - 1]
      last -= 1
    }
    memory[position] = MemoryRange(firstFrame: first, frameCount: limit - first, node: node)
    memoryRangeCount += 1
    nodeCount = max(nodeCount, node.index + 1)
    totalFrames += limit - first
  }

  /// Forbids the use of a range, rounded outwards to whole frames.
  ///
  /// It may overlap other reserved ranges, and need not lie in RAM.
  ///
  /// - Parameters:
  ///   - start: where it begins; need not be aligned.
  ///   - byteCount: its length; need not be a multiple of a page.
  /// - Throws: ``PhysicalMemoryError`` when the range is empty or ends beyond 48 bits, or when the map is full. The map is
  ///   then as before.
  public mutating func reserve(start: PhysicalAddress, byteCount: Int) throws(PhysicalMemoryError) {
    let end = try Self.end(of: start, byteCount: byteCount)
    var first = PageFrame(start.rawValue &>> 12)
    var limit = PageFrame((end &+ 4095) &>> 12)

    // All ranges from `position` up to `next` overlap or touch the new one, and are merged with it.
    var position = 0
    while position < reservedRangeCount, reserved[position].endFrame < first { position += 1 }
    var next = position
    while next < reservedRangeCount, reserved[next].firstFrame <= limit {
      first = min(first, reserved[next].firstFrame)
      limit = max(limit, reserved[next].endFrame)
      next += 1
    }
    if next == position {
      guard reservedRangeCount < Self.reservedRangeLimit else {
        throw .tooManyReservedRanges(limit: Self.reservedRangeLimit)
      }
      var last = reservedRangeCount
      while last > position {
        reserved[last] = reserved[last - 1]
        last -= 1
      }
      reservedRangeCount += 1
    } else {
      let absorbed = next - position - 1
      while next < reservedRangeCount {
        reserved[next - absorbed] = reserved[next]
        next += 1
      }
      reservedRangeCount -= absorbed
    }
    reserved[position] = ReservedRange(firstFrame: first, frameCount: limit - first)
  }

  /// Checks that a range is legal, and returns the first byte above it.
  private static func end(of start: PhysicalAddress, byteCount: Int) throws(PhysicalMemoryError) -> UInt {
    guard byteCount > 0 else { throw .emptyRange(start, byteCount: byteCount) }
    let (end, overflow) = start.rawValue.addingReportingOverflow(UInt(byteCount))
    guard !overflow, end <= 1 << 48 else { throw .outsideAddressSpace(start, byteCount: byteCount) }
    return end
  }
}
