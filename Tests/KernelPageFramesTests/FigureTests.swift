// The allocator's reports: /proc/buddyinfo, and the unusable free space index against figures worked out by hand.

import KernelMachine
import KernelPageFrames
import Testing

@Suite struct FigureTests {
  /// Node 0: 8 single free frames and one block of order 3.
  ///
  /// Node 1: one block of order 5.
  func fragmented() throws -> Bed {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 24, node: 0)
    try map.addMemory(firstFrame: 0x41000, frames: 32, node: 1)
    let bed = try Bed(map)
    let taken = try (0..<24).map { _ in try bed.take(0, on: 0) }
    for frame in taken where frame.number >= 0x40010 || frame.number % 2 == 1 {
      try bed.allocator.free(frame, order: 0)
    }
    return bed
  }

  @Test func `Free blocks per order and node`() throws {
    let bed = try fragmented()
    #expect(bed.blocks(on: 0) == [8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    #expect(bed.blocks(on: 1) == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0])
    #expect(bed.blocks() == [8, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0])
    #expect(bed.allocator.freeFrames == 48)
    #expect(bed.allocator.freeFrames(on: NodeID(0)) == 16)
    #expect(bed.allocator.totalFrames(on: NodeID(0)) == 24)
    #expect(bed.allocator.largestFreeOrder == 5)
    #expect(bed.allocator.largestFreeOrder(on: NodeID(0)) == 3)
  }

  @Test
  func `The unusable free space index is the share of free memory in blocks that are too small`() throws {
    let bed = try fragmented()
    // Of 48 free frames, 8 are single, 8 in a block of order 3, 32 in one of order 5.
    let all = (0...10).map { bed.allocator.unusableFreeSpacePermille(order: $0) }
    #expect(all == [0, 166, 166, 166, 333, 333, 1000, 1000, 1000, 1000, 1000])
    let first = (0...10).map { bed.allocator.unusableFreeSpacePermille(order: $0, on: NodeID(0)) }
    #expect(first == [0, 500, 500, 500, 1000, 1000, 1000, 1000, 1000, 1000, 1000])
    let second = (0...10).map { bed.allocator.unusableFreeSpacePermille(order: $0, on: NodeID(1)) }
    #expect(second == [0, 0, 0, 0, 0, 0, 1000, 1000, 1000, 1000, 1000])
  }

  @Test func `Without free memory all of it counts as unusable`() throws {
    let bed = try Bed(frames: 1024)
    _ = try bed.take(10)
    #expect((0...10).allSatisfy { bed.allocator.unusableFreeSpacePermille(order: $0) == 1000 })
  }

  @Test func `The listing has the columns of /proc/buddyinfo`() throws {
    var sink = TextCollector()
    try fragmented().allocator.writeBuddyInfo(to: &sink)
    #expect(
      sink.text == """
        Node 0, zone   Normal      8      0      0      1      0      0      0      0      0      0      0\u{20}
        Node 1, zone   Normal      0      0      0      0      0      1      0      0      0      0      0\u{20}

        """)
  }

  @Test func `Columns stay aligned from one digit to six`() throws {
    let bed = try Bed(frames: 30 * 1024)
    let frames = try (0..<30 * 1024).map { _ in try bed.take(0) }
    for frame in frames where frame.number % 2 == 0 { try bed.allocator.free(frame, order: 0) }
    var sink = TextCollector()
    bed.allocator.writeBuddyInfo(to: &sink)
    #expect(sink.text.hasPrefix("Node 0, zone   Normal  15360      0 "))
  }
}
