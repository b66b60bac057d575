// Blocks do not reach reserved frames, beyond the edges of ranges, or into other nodes; and the case of an empty node.

import KernelMachine
import KernelPageFrames
import Testing

@Suite struct ReservedAndRangesTests {
  @Test func `Reserved frames are never handed out, whatever their alignment`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 256)
    try map.reserve(start: PhysicalAddress(0x4000_0000), byteCount: 0x5001)  // frames 0…5
    try map.reserve(start: PhysicalAddress(0x4000_5fff), byteCount: 2)  // frames 5…6
    try map.reserve(start: PhysicalAddress(0x4006_4800), byteCount: 1)  // frame 100
    let reserved = Set(Array<UInt>(0x40000...0x40006) + [0x40064])
    let bed = try Bed(map)
    #expect(bed.allocator.totalFrames == 256 - reserved.count)
    for number in UInt(0x40000)..<0x40100 {
      #expect(bed.allocator.owner(of: PageFrame(number)) == (reserved.contains(number) ? .reserved : .free))
    }
    var taken: Set<UInt> = []
    while let frame = try? bed.take(0) { taken.insert(frame.number) }
    #expect(taken == Set(0x40000..<0x40100).subtracting(reserved))
    for number in taken { try bed.allocator.free(PageFrame(number), order: 0) }
    bed.allocator._checkInvariants()
    // 7 | 8…15 | 16…31 | 32…63 | 64…95 | 96…99 | 101 | 102…103 | 104…111 | 112…127 | 128…255
    #expect(bed.blocks() == [2, 1, 1, 2, 2, 2, 0, 1, 0, 0, 0])
  }

  @Test(arguments: [0, 1])
  func `Blocks do not merge across touching ranges, of one node or of two`(otherNode: Int) throws {
    // Buddies of order 4 that lie in different ranges.
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 16, node: 0)
    try map.addMemory(firstFrame: 0x40010, frames: 16, node: otherNode)
    let bed = try Bed(map)
    #expect(bed.blocks() == [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0])
    let frames = try (0..<32).map { _ in try bed.take(0) }
    for frame in frames { try bed.allocator.free(frame, order: 0) }
    #expect(bed.blocks() == [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0])
    bed.allocator._checkInvariants()
  }

  @Test
  func `A range's edges inside of a block of order 10 stop merging, although there is no memory beyond`() throws
  {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 5, frames: 1)
    try map.addMemory(firstFrame: 1023, frames: 2)
    try map.addMemory(firstFrame: 2047, frames: 1)
    let bed = try Bed(map)
    #expect(bed.blocks() == [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    let frames = try (0..<4).map { _ in try bed.take(0) }
    #expect(Set(frames.map(\.number)) == [5, 1023, 1024, 2047])
    for frame in frames { try bed.allocator.free(frame, order: 0) }
    #expect(bed.blocks() == [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    bed.allocator._checkInvariants()
  }

  @Test func `Memory at the very top of the physical address space works`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 1 << 36 - 1024, frames: 1024)
    try map.addMemory(firstFrame: 0, frames: 1)
    let bed = try Bed(map)
    let block = try bed.take(10)
    #expect(block == PageFrame(1 << 36 - 1024))
    #expect(try bed.take(0) == PageFrame(0))
    try bed.allocator.free(block, order: 10)
    bed.allocator._checkInvariants()
  }

  @Test
  func `The preferred node serves as long as it can; then the ones above it, then those below`() throws {
    var map = PhysicalMemoryMap()
    for node in 0..<4 { try map.addMemory(firstFrame: UInt(node * 0x1000), frames: 8, node: node) }
    let bed = try Bed(map)
    let nodes = try (0..<32).map { _ in bed.allocator.node(of: try bed.take(0, on: 2)).index }
    #expect(nodes == [2, 3, 0, 1].flatMap { Array(repeating: $0, count: 8) })
    #expect(throws: FrameSourceError.self) { try bed.take(0, on: 2) }
    bed.allocator._checkInvariants()
  }

  @Test func `Exhausting one node leaves the others untouched, and its frames come back to it`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 2048, node: 0)
    try map.addMemory(firstFrame: 0x40800, frames: 2048, node: 1)
    let bed = try Bed(map)
    let frames = try (0..<2048).map { _ in try bed.take(0, on: 0) }
    #expect(frames.allSatisfy { bed.allocator.node(of: $0) == NodeID(0) })
    #expect(bed.allocator.freeFrames(on: NodeID(0)) == 0)
    #expect(bed.allocator.freeFrames(on: NodeID(1)) == 2048)
    #expect(bed.blocks(on: 1) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
    #expect(bed.allocator.largestFreeOrder(on: NodeID(0)) == -1)

    let elsewhere = try bed.take(0, on: 0)
    #expect(bed.allocator.node(of: elsewhere) == NodeID(1))
    try bed.allocator.free(elsewhere, order: 0)
    for frame in frames { try bed.allocator.free(frame, order: 0) }
    #expect(bed.blocks(on: 0) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
    #expect(try bed.allocator.node(of: bed.take(0, on: 0)) == NodeID(0))
  }

  @Test func `A node in pieces falls back for the orders it cannot serve, and only for those`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 16, node: 0)
    try map.addMemory(firstFrame: 0x40010, frames: 16, node: 1)
    let bed = try Bed(map)
    let frames = try (0..<16).map { _ in try bed.take(0, on: 0) }
    for frame in frames where frame.number % 2 == 0 { try bed.allocator.free(frame, order: 0) }
    #expect(try bed.allocator.node(of: bed.take(2, on: 0)) == NodeID(1))
    #expect(try bed.allocator.node(of: bed.take(0, on: 0)) == NodeID(0))
  }

  @Test
  func `Without a node the current CPU's serves; a CPU whose node has no memory is served too`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 16, node: 0)
    try map.addMemory(firstFrame: 0x40010, frames: 16, node: 2)
    let bed = try Bed(map)
    #expect(bed.allocator.nodeCount == 3)
    bed.world.node = NodeID(2)
    #expect(try bed.allocator.node(of: bed.take(0)) == NodeID(2))
    bed.world.node = NodeID(1)
    #expect(try bed.allocator.node(of: bed.take(0)) == NodeID(2), "node 1 has no memory, 2 is next")
    bed.world.node = NodeID(7)
    #expect(try bed.allocator.node(of: bed.take(0)) == NodeID(0))
    #expect(try bed.allocator.node(of: bed.take(0, on: 1)) == NodeID(2))
  }

  @Test func `A refusal counts the free memory of all nodes`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 3, node: 0)
    try map.addMemory(firstFrame: 0x41000, frames: 5, node: 1)
    let bed = try Bed(map)
    let refusal = FrameRefusal(order: 3, purpose: .vmalloc, freeFrames: 8, largestFreeOrder: 2)
    #expect(throws: FrameSourceError.refused(refusal)) { try bed.take(3, on: 0, for: .vmalloc) }
  }
}
