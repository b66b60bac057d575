// Callers' mistakes: each has an error of its own, and changes nothing.

import KernelMachine
import KernelPageFrames
import Testing

@Suite struct MisuseTests {
  let bed: Bed
  let before: [String]
  /// 0x40010…0x40013, of order 2.
  let block: PageFrame

  init() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40010, frames: 48)
    try map.reserve(firstFrame: 0x40018, frames: 1)
    bed = try Bed(map)
    block = try bed.take(2)
    before = bed.picture()
  }

  func expect(_ error: FrameSourceError, freeing frame: PageFrame, order: Int) {
    #expect(throws: error) { try bed.allocator.free(frame, order: order) }
    #expect(bed.picture() == before)
    #expect(bed.world.locksHeld == 0)
    bed.allocator._checkInvariants()
  }

  @Test func `A double free is told, also when the frame has become the inside of a larger block`() throws {
    expect(.doubleFree(PageFrame(0x40014)), freeing: PageFrame(0x40014), order: 2)
    expect(.doubleFree(PageFrame(0x40020)), freeing: PageFrame(0x40020), order: 0)
    expect(.doubleFree(PageFrame(0x40025)), freeing: PageFrame(0x40025), order: 0)
    try bed.allocator.free(block, order: 2)
    #expect(throws: FrameSourceError.doubleFree(block)) { try bed.allocator.free(block, order: 2) }
    #expect(throws: FrameSourceError.doubleFree(block + 1)) { try bed.allocator.free(block + 1, order: 0) }
    bed.allocator._checkInvariants()
  }

  @Test func `Another order than that of the block, or a frame inside of it, is the wrong order`() {
    for order in [0, 1, 3, 10] { expect(.wrongOrder(block, order: order), freeing: block, order: order) }
    for offset in 1...3 {
      expect(.wrongOrder(block + offset, order: 0), freeing: block + offset, order: 0)
      expect(.wrongOrder(block + offset, order: 2), freeing: block + offset, order: 2)
    }
  }

  @Test func `Frames outside RAM, and reserved ones, are foreign`() {
    for number: UInt in [0, 0x4000f, 0x40040, 0x40018, UInt.max, 1 << 52] {
      expect(.foreignFrame(PageFrame(number)), freeing: PageFrame(number), order: 0)
    }
    #expect(bed.allocator.owner(of: PageFrame(0x4000f)) == .unmanaged)
    #expect(bed.allocator.owner(of: PageFrame(0x40018)) == .reserved)
  }

  @Test(arguments: [-1, 11, Int.min, Int.max]) func `An order below 0 or above 10 is invalid`(order: Int) {
    expect(.invalidOrder(order), freeing: block, order: order)
    #expect(throws: FrameSourceError.invalidOrder(order)) { try bed.take(order) }
    #expect(bed.picture() == before)
    #expect(bed.allocator.freeBlocks(ofOrder: order) == 0)
    #expect(bed.allocator.unusableFreeSpacePermille(order: order) == 1000)
  }

  @Test(arguments: [-1, 1, Int.max]) func `A node that does not exist is told, not replaced`(index: Int) {
    #expect(throws: FrameSourceError.unknownNode(NodeID(index))) { try bed.take(0, on: index) }
    #expect(bed.picture() == before)
    #expect(bed.allocator.freeFrames(on: NodeID(index)) == 0)
    #expect(bed.allocator.totalFrames(on: NodeID(index)) == 0)
    #expect(bed.allocator.freeBlocks(ofOrder: 0, on: NodeID(index)) == 0)
    #expect(bed.allocator.largestFreeOrder(on: NodeID(index)) == -1)
    #expect(bed.allocator.unusableFreeSpacePermille(order: 0, on: NodeID(index)) == 1000)
  }
}
