// Lists of single frames per CPU: the locks that they save, and that no frame in them is ever out of reach.

import KernelMachine
import KernelPageFrames
import SeededRandom
import Testing

@Suite struct CPUListTests {
  @Test(arguments: ["upwards", "downwards", "every third", "by seed"])
  func `Frames become the blocks that they were, in whatever order they come back`(order: String) throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    let before = bed.blocks()
    var frames = try (0..<67).map { _ in try bed.take(0) }
    #expect(Set(frames).count == 67)
    var random = SplitMix64(seed: 11)
    switch order {
    case "upwards": break
    case "downwards": frames.reverse()
    case "by seed":
      for index in frames.indices.dropFirst() { frames.swapAt(index, random.next(below: index + 1)) }
    default:
      frames = (0..<3).flatMap { first in stride(from: first, to: 67, by: 3).map { frames[$0] } }
    }
    for frame in frames {
      try bed.allocator.free(frame, order: 0)
      bed.allocator._checkInvariants()
    }
    bed.allocator.drain()
    #expect(bed.blocks() == before && bed.allocator.freeFrames == 4096)
  }

  @Test func `A full list gives up no part of an aligned batch whose rest it keeps`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    // Of the last batch 13 frames stay in the list, which begin at an odd one.
    let frames = try (0..<67).map { _ in try bed.take(0) }
    let before = bed.blocks()
    for frame in frames {
      try bed.allocator.free(frame, order: 0)
      // Two of three frames that begin an aligned batch would be a block of two.
      #expect(bed.blocks()[1] == 0)
    }
    let blocks = bed.blocks()
    #expect(blocks[4] == before[4] + 1 && blocks[5] == before[5] + 1, "48 of 67, in whole batches: \(blocks)")
  }

  @Test func `In the common path one frame is taken and given back without a lock`() throws {
    let bed = try Bed(frames: 1024, cpuCount: 2)
    try bed.allocator.free(bed.take(0), order: 0)
    let locks = bed.world.locksTaken
    var frames: [PageFrame] = []
    for _ in 0..<100 {
      for _ in 0..<15 { frames.append(try bed.take(0)) }
      for frame in frames { try bed.allocator.free(frame, order: 0) }
      frames = []
    }
    #expect(bed.world.locksTaken == locks)
    #expect(bed.world.interruptsOff == 0)
    bed.allocator._checkInvariants()
  }

  @Test func `A long run of frames takes a lock for each batch of 16, at most`() throws {
    let bed = try Bed(frames: 4096, cpuCount: 1)
    let frames = try (0..<1600).map { _ in try bed.take(0) }
    #expect(Set(frames).count == 1600)
    #expect(bed.world.locksTaken <= 100)
    for frame in frames { try bed.allocator.free(frame, order: 0) }
    #expect(bed.world.locksTaken <= 200)
    bed.allocator._checkInvariants()
  }

  @Test func `Frames in lists are free in every figure, and drained they merge to what there was`() throws {
    let bed = try Bed(frames: 1024, cpuCount: 3)
    let before = bed.picture()
    for cpu in 0..<3 {
      bed.world.cpu = cpu
      try bed.allocator.free(bed.take(0), order: 0)
      #expect(bed.allocator.freeFrames == 1024 && bed.allocator.freeFrames(on: NodeID(0)) == 1024)
      #expect(bed.allocator.freeBlocks(ofOrder: 0) == 16 * (cpu + 1))
      bed.allocator._checkInvariants()
    }
    #expect(bed.allocator.drain() == 48)
    #expect(bed.picture() == before)
    #expect(bed.allocator.drain() == 0)
  }

  @Test(arguments: [false, true])
  func `The last frame is found, in whichever list it is`(cleared: Bool) throws {
    let bed = try Bed(frames: 64, cpuCount: 3)
    var taken: Set<PageFrame> = []
    for cpu in 0..<3 {
      bed.world.cpu = cpu
      // The list is filled, one frame of it used.
      taken.insert(try bed.take(0))
    }
    bed.world.cpu = 2
    while let frame = try? bed.allocator.allocate(FrameRequest(purpose: .userMemory, cleared: cleared)) {
      #expect(taken.insert(frame).inserted)
      bed.allocator._checkInvariants()
    }
    #expect(taken.count == 64)
    #expect(bed.allocator.freeFrames == 0 && bed.allocator.largestFreeOrder == -1)
    let refusal = FrameRefusal(order: 0, purpose: .userMemory, freeFrames: 0, largestFreeOrder: -1)
    #expect(throws: FrameSourceError.refused(refusal)) { try bed.take(0) }
  }

  @Test(arguments: [1, 4, 10])
  func `A block is refused only if it isn't there after all lists have been merged`(order: Int) throws {
    let bed = try Bed(frames: 1024, cpuCount: 4)
    let frames = try (0..<1024).map { _ in try bed.take(0) }
    for (index, frame) in frames.enumerated() {
      bed.world.cpu = index / 16 % 4
      try bed.allocator.free(frame, order: 0)
    }
    #expect(bed.allocator.freeBlocks(ofOrder: 0) > 0)
    let block = try bed.take(order)
    #expect(bed.allocator.freeFrames == 1024 - 1 << order)
    bed.allocator._checkInvariants()
    try bed.allocator.free(block, order: order)
    bed.allocator.drain()
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
  }

  @Test func `A CPU that has stopped keeps nothing; a number that is no CPU's drains nothing`() throws {
    let bed = try Bed(frames: 256, cpuCount: 2)
    bed.world.cpu = 1
    try bed.allocator.free(bed.take(0), order: 0)
    bed.world.cpu = 0
    #expect(bed.allocator.drain(cpu: 1) == 16)
    for cpu in [-1, 0, 1, 2, Int.max] { #expect(bed.allocator.drain(cpu: cpu) == 0) }
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])
    bed.allocator._checkInvariants()
  }

  @Test func `CPUs that keep no list are served by their node`() throws {
    let bed = try Bed(frames: 64, cpuCount: 1)
    bed.world.cpu = 1
    let frame = try bed.take(0)
    #expect(bed.allocator.freeBlocks(ofOrder: 0) == 1)
    try bed.allocator.free(frame, order: 0)
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    bed.allocator._checkInvariants()
  }

  @Test func `A list holds frames of its CPU's node only`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 64, node: 0)
    try map.addMemory(firstFrame: 0x41000, frames: 64, node: 1)
    let bed = try Bed(map, cpuCount: 2)
    bed.world.node = NodeID(1)
    bed.world.cpu = 1
    let near = try bed.take(0)
    let far = try bed.take(0, on: 0)
    #expect(bed.allocator.node(of: near) == NodeID(1) && bed.allocator.node(of: far) == NodeID(0))
    #expect(bed.allocator.freeBlocks(ofOrder: 0, on: NodeID(1)) == 15)
    #expect(bed.allocator.freeBlocks(ofOrder: 0, on: NodeID(0)) == 1)
    try bed.allocator.free(far, order: 0)
    #expect(bed.blocks(on: 0) == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    try bed.allocator.free(near, order: 0)
    #expect(bed.allocator.freeFrames(on: NodeID(1)) == 64)
    bed.allocator._checkInvariants()
    // Node 0 runs out; then node 1 serves, its lists included.
    let rest = try (0..<128).map { _ in try bed.take(0, on: 0) }
    #expect(rest.prefix(64).allSatisfy { bed.allocator.node(of: $0) == NodeID(0) })
    #expect(Set(rest).count == 128 && bed.allocator.freeFrames == 0)
    bed.allocator._checkInvariants()
  }

  @Test func `A CPU without memory of its own node keeps frames of node 0`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 64, node: 0)
    try map.addMemory(firstFrame: 0x41000, frames: 64, node: 1)
    let bed = try Bed(map, cpuCount: 1)
    bed.world.node = NodeID(7)
    let frame = try bed.take(0)
    #expect(bed.allocator.node(of: frame) == NodeID(0))
    #expect(bed.allocator.freeBlocks(ofOrder: 0, on: NodeID(0)) == 15)
  }

  @Test
  func `Giving back what is in a list already, or was never handed out, is told and changes nothing`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 64)
    try map.reserve(firstFrame: 0x40008, frames: 1)
    let bed = try Bed(map, cpuCount: 2)
    let frame = try bed.take(0)
    let block = try bed.take(2)
    try bed.allocator.free(frame, order: 0)
    let before = bed.picture()
    func expect(_ error: FrameSourceError, _ frame: PageFrame, order: Int = 0) {
      for cpu in 0..<2 {
        bed.world.cpu = cpu
        #expect(throws: error) { try bed.allocator.free(frame, order: order) }
        #expect(bed.picture() == before)
        #expect(bed.world.locksHeld == 0 && bed.world.interruptsOff == 0)
        bed.allocator._checkInvariants()
      }
    }
    expect(.doubleFree(frame), frame)
    expect(.doubleFree(frame), frame, order: 1)
    expect(.wrongOrder(block, order: 0), block)
    expect(.wrongOrder(block + 1, order: 0), block + 1)
    expect(.foreignFrame(PageFrame(0x40008)), PageFrame(0x40008))
    expect(.foreignFrame(PageFrame(0x50000)), PageFrame(0x50000))
    #expect(throws: FrameSourceError.unknownNode(NodeID(1))) { try bed.take(0, on: 1) }
    #expect(bed.picture() == before)
  }

  @Test func `A number of CPUs that cannot be is refused; too little metadata for the lists too`() throws {
    for count in [-1, 4097] {
      #expect(throws: PhysicalMemoryError.invalidCPUCount(count, limit: 4096)) {
        _ = try Bed(frames: 64, cpuCount: count)
      }
    }
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 64)
    let without = BuddyAllocator<TestMachine>.metadataByteCount(for: map)
    let with = BuddyAllocator<TestMachine>.metadataByteCount(for: map, cpuCount: 4)
    #expect(with == without + 4 * 128)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: without, alignment: 64)
    defer { memory.deallocate() }
    #expect(throws: PhysicalMemoryError.metadataTooSmall(neededBytes: with, givenBytes: without)) {
      _ = try BuddyAllocator(
        frames: map, metadata: memory, machine: TestMachine(world: TestWorld()), cpuCount: 4)
    }
  }
}
