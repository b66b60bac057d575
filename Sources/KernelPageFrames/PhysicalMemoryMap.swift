// Where RAM is, which NUMA node each part belongs to, and which parts of it must not be touched.
//
// Both lists are kept sorted by address and free of overlaps, so that whoever reads them can walk them once:
//
//   RAM        |======= node 0 =======|======= node 1 =======|         |=== node 1 ===|
//   reserved     |##|        |####|                                        |###########|##|

import KernelMachine

/// A run of page frames of RAM that belong to one NUMA node.
public struct MemoryRange: Equatable, Sendable {
  /// The first frame.
  public var firstFrame: PageFrame
  /// How many frames follow each other.
  public var frameCount: Int
  /// The node they are near to.
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
  /// How many frames follow each other.
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
public struct PhysicalMemoryMap: Sendable {
  var memory = InlineArray<32, MemoryRange>(
    repeating: MemoryRange(firstFrame: PageFrame(0), frameCount: 0, node: NodeID(0)))
  var reserved = InlineArray<64, ReservedRange>(
    repeating: ReservedRange(firstFrame: PageFrame(0), frameCount: 0))

  /// How many ranges of RAM there are.
  public private(set) var memoryRangeCount = 0
  /// How many reserved ranges there are, after those that overlap or touch have become one.
  public private(set) var reservedRangeCount = 0
  /// How many NUMA nodes there are: one more than the largest node number of any range of RAM.
  public private(set) var nodeCount = 0
  /// How many frames of RAM there are, reserved or not.
  public private(set) var totalFrames = 0

  /// How many ranges of RAM a map can hold.
  public static var memoryRangeLimit: Int { 32 }
  /// How many reserved ranges, not overlapping or touching each other, a map can hold.
  public static var reservedRangeLimit: Int { 64 }
  /// How many NUMA nodes a map can tell apart.
  public static var nodeLimit: Int { 64 }

  /// A map without any RAM.
  public init() {}

  // MARK: Building

  /// Adds RAM, rounded inwards to whole frames.
  ///
  /// - Parameters:
  ///   - start: where it begins; need not be aligned.
  ///   - byteCount: its length; need not be a multiple of a page.
  ///   - node: the NUMA node it is near to.
  /// - Throws: when the range is empty, holds no whole frame, ends beyond 48 bits, overlaps RAM that is there already,
  ///   when the node's number is not below ``nodeLimit``, or when the map is full. The map is then as before.
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
  /// - Throws: when the range is empty or ends beyond 48 bits, or when the map is full. The map is then as before.
  public mutating func reserve(start: PhysicalAddress, byteCount: Int) throws(PhysicalMemoryError) {
    let end = try Self.end(of: start, byteCount: byteCount)
    var first = PageFrame(start.rawValue &>> 12)
    var limit = PageFrame((end &+ 4095) &>> 12)

    // All ranges from `position` up to `next` overlap or touch the new one, and become one with it.
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

  /// The first byte above a range, after checking that there is one.
  private static func end(of start: PhysicalAddress, byteCount: Int) throws(PhysicalMemoryError) -> UInt {
    guard byteCount > 0 else { throw .emptyRange(start, byteCount: byteCount) }
    let (end, overflow) = start.rawValue.addingReportingOverflow(UInt(byteCount))
    guard !overflow, end <= 1 << 48 else { throw .outsideAddressSpace(start, byteCount: byteCount) }
    return end
  }
}
