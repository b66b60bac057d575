// The buddy allocator on one node: blocks, their alignment, splitting and coalescing, clearing, and refusals.

import KernelMachine
import KernelPageFrames
import Testing

@Suite struct BuddyAllocatorTests {
  @Test func `At first all memory is free, in the largest blocks that alignment allows`() throws {
    // Frames 0x40003..<0x40c05: 1 + 4 + 8 + … up to 0x40400, two whole blocks of order 10, then 4 + 1.
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40003, frames: 0xc02)
    let bed = try Bed(map)
    #expect(bed.blocks() == [2, 0, 2, 1, 1, 1, 1, 1, 1, 1, 2])
    #expect(bed.allocator.freeFrames == 0xc02)
    #expect(bed.allocator.totalFrames == 0xc02)
    #expect(bed.allocator.largestFreeOrder == 10)
    bed.allocator._checkInvariants()
  }

  @Test(arguments: 0...10)
  func `A block is aligned to its size and belongs to who took it`(order: Int) throws {
    let bed = try Bed(frames: 2048)
    let frame = try bed.take(order, for: .threadStack)
    #expect(frame.number % (1 << UInt(order)) == 0)
    for offset in 0..<1 << order { #expect(bed.allocator.owner(of: frame + offset) == .used(.threadStack)) }
    #expect(bed.allocator.owner(of: frame + (1 << order)) == .free)
    #expect(bed.allocator.freeFrames == 2048 - 1 << order)
    bed.allocator._checkInvariants()
    try bed.allocator.free(frame, order: order)
    #expect(bed.allocator.owner(of: frame) == .free)
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
    bed.allocator._checkInvariants()
  }

  @Test func `Each purpose is remembered`() throws {
    let bed = try Bed(frames: 64)
    let purposes: [FramePurpose] = [
      .threadStack, .pageTable, .userMemory, .taskRecord, .vmalloc, .metadata, .other,
    ]
    let frames = try purposes.map { try bed.take(0, for: $0) }
    for (frame, purpose) in zip(frames, purposes) { #expect(bed.allocator.owner(of: frame) == .used(purpose)) }
  }

  @Test
  func `Splitting leaves one block of each order below; freeing coalesces back to the beginning`() throws {
    let bed = try Bed(frames: 1024)
    let frame = try bed.take(0)
    #expect(frame == PageFrame(0x40000))
    #expect(bed.blocks() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0])
    try bed.allocator.free(frame, order: 0)
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
  }

  @Test func `Every second frame freed: half the memory is free, and no block of order 1`() throws {
    let bed = try Bed(frames: 1024)
    let frames = try (0..<1024).map { _ in try bed.take(0, for: .other) }
    #expect(Set(frames).count == 1024)
    #expect(bed.allocator.freeFrames == 0 && bed.allocator.largestFreeOrder == -1)
    for frame in frames where frame.number % 2 == 0 { try bed.allocator.free(frame, order: 0) }
    #expect(bed.blocks() == [512, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    bed.allocator._checkInvariants()

    let refusal = FrameRefusal(order: 2, purpose: .threadStack, freeFrames: 512, largestFreeOrder: 0)
    #expect(throws: FrameSourceError.refused(refusal)) { try bed.take(2, for: .threadStack) }
    #expect(refusal.description == "order 2 for a thread stack refused: 2 MiB free, largest block 4 KiB")
    #expect(bed.blocks() == [512, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])

    for frame in frames where frame.number % 2 == 1 { try bed.allocator.free(frame, order: 0) }
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
  }

  @Test func `When nothing is free, the refusal says so`() throws {
    let bed = try Bed(frames: 1024)
    _ = try bed.take(10)
    for order in 0...10 {
      let refusal = FrameRefusal(order: order, purpose: .pageTable, freeFrames: 0, largestFreeOrder: -1)
      #expect(throws: FrameSourceError.refused(refusal)) { try bed.take(order, for: .pageTable) }
    }
  }

  @Test func `Only requests for cleared memory clear, exactly their block, and without a lock held`() throws {
    let bed = try Bed(frames: 1024)
    _ = try bed.take(3)
    #expect(bed.world.clearings.isEmpty)
    let frame = try bed.allocator.allocate(FrameRequest(order: 2, purpose: .threadStack, cleared: true))
    let address = VirtualAddress(0xffff_ffc0_0000_0000 + frame.physicalAddress.rawValue)
    #expect(bed.world.clearings == [TestWorld.Clearing(address: address, byteCount: 16384)])
    _ = try? bed.allocator.allocate(FrameRequest(order: 10, purpose: .threadStack, cleared: true))
    #expect(bed.world.clearings.count == 1, "a refused request clears nothing")
  }

  @Test func `An allocation or a free takes one lock`() throws {
    let bed = try Bed(frames: 1024)
    let frame = try bed.take(0)
    #expect(bed.world.locksTaken == 1)
    try bed.allocator.free(frame, order: 0)
    #expect(bed.world.locksTaken == 2)
    #expect(bed.world.locksHeld == 0)
  }

  @Test func `What was freed last is handed out first`() throws {
    let bed = try Bed(frames: 1024)
    let frames = try (0..<8).map { _ in try bed.take(0) }
    try bed.allocator.free(frames[1], order: 0)
    try bed.allocator.free(frames[5], order: 0)
    #expect(try bed.take(0) == frames[5])
    #expect(try bed.take(0) == frames[1])
  }

  @Test(arguments: [0, 1, 8, 63])
  func `The frame for an allocation does not depend on where the metadata lies`(misalignment: Int) throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 100)
    let bed = try Bed(map, misalignment: misalignment)
    #expect(try bed.take(4) == PageFrame(0x40040))
    #expect(try bed.take(2) == PageFrame(0x40060))
    bed.allocator._checkInvariants()
  }

  @Test func `Metadata takes at most 16 bytes per frame`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(start: PhysicalAddress(0x4000_0000), byteCount: 128 << 20)
    #expect(BuddyAllocator<TestMachine>.metadataByteCount(for: map) <= 16 * map.totalFrames)
  }

  @Test func `Too little metadata memory is refused before a byte of it is written`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 100)
    let needed = BuddyAllocator<TestMachine>.metadataByteCount(for: map)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: needed - 1, alignment: 64)
    defer { memory.deallocate() }
    for index in memory.indices { memory[index] = 0x5a }
    #expect(throws: PhysicalMemoryError.metadataTooSmall(neededBytes: needed, givenBytes: needed - 1)) {
      _ = try BuddyAllocator(frames: map, metadata: memory, machine: TestMachine(world: TestWorld()))
    }
    #expect(memory.allSatisfy { $0 == 0x5a })
    let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    #expect(throws: PhysicalMemoryError.metadataTooSmall(neededBytes: needed, givenBytes: 0)) {
      _ = try BuddyAllocator(frames: map, metadata: none, machine: TestMachine(world: TestWorld()))
    }
  }

  @Test func `A map without usable memory is refused`() throws {
    #expect(throws: PhysicalMemoryError.noUsableMemory(totalFrames: 0)) { _ = try Bed(PhysicalMemoryMap()) }
    #expect(throws: PhysicalMemoryError.noUsableMemory(totalFrames: 16)) {
      var map = PhysicalMemoryMap()
      try map.addMemory(firstFrame: 16, frames: 16)
      try map.reserve(firstFrame: 0, frames: 100)
      _ = try Bed(map)
    }
  }

  @Test func `More frames than links can name are refused`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(start: PhysicalAddress(0), byteCount: 1 << 48)
    let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    #expect(throws: PhysicalMemoryError.tooManyFrames(1 << 36)) {
      _ = try BuddyAllocator(frames: map, metadata: none, machine: TestMachine(world: TestWorld()))
    }
  }
}
