// The map of physical memory: rounding, order, merging of reserved ranges, and everything it refuses.

import KernelMachine
import KernelPageFrames
import Testing

@Suite struct PhysicalMemoryMapTests {
  @Test func `RAM is rounded inwards to whole frames`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(start: PhysicalAddress(0x1001), byteCount: 0x3000, node: NodeID(0))
    #expect(map.memoryRanges == [MemoryRange(firstFrame: PageFrame(2), frameCount: 2, node: NodeID(0))])
    #expect(map.totalFrames == 2)
    #expect(map.lowestFrame == PageFrame(2))
    #expect(map.highestFrame == PageFrame(3))
  }

  @Test func `An empty map is made in memory of any contents, and is like any other`() throws {
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: PhysicalMemoryMap.byteCount, alignment: 8)
    defer { bytes.deallocate() }
    bytes.initializeMemory(as: UInt8.self, repeating: 0xa5, count: PhysicalMemoryMap.byteCount)
    let map = PhysicalMemoryMap.makeEmpty(in: bytes)
    withUnsafeBytes(of: PhysicalMemoryMap()) { usual in
      #expect(usual.elementsEqual(UnsafeRawBufferPointer(start: bytes, count: usual.count)))
    }
    #expect(map.pointee.memoryRanges == [] && map.pointee.totalFrames == 0)
    try map.pointee.addMemory(firstFrame: 2, frames: 3)
    #expect(map.pointee.memoryRanges == [MemoryRange(firstFrame: PageFrame(2), frameCount: 3, node: NodeID(0))])
  }

  @Test func `Reserved ranges are rounded outwards, and become one where they overlap or touch`() throws {
    var map = PhysicalMemoryMap()
    try map.reserve(start: PhysicalAddress(0x5fff), byteCount: 2)
    #expect(map.reservedRanges == [ReservedRange(firstFrame: PageFrame(5), frameCount: 2)])
    try map.reserve(firstFrame: 20, frames: 1)
    try map.reserve(firstFrame: 1, frames: 2)
    try map.reserve(firstFrame: 10, frames: 4)
    #expect(map.reservedRanges.map(\.firstFrame.number) == [1, 5, 10, 20])
    try map.reserve(firstFrame: 7, frames: 3)
    #expect(
      map.reservedRanges == [
        ReservedRange(firstFrame: PageFrame(1), frameCount: 2),
        ReservedRange(firstFrame: PageFrame(5), frameCount: 9),
        ReservedRange(firstFrame: PageFrame(20), frameCount: 1),
      ])
    try map.reserve(firstFrame: 12, frames: 1)
    #expect(map.reservedRangeCount == 3)
    try map.reserve(firstFrame: 0, frames: 100)
    #expect(map.reservedRanges == [ReservedRange(firstFrame: PageFrame(0), frameCount: 100)])
  }

  @Test func `Ranges are sorted by address, whatever the order they came in`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 300, frames: 10, node: 1)
    try map.addMemory(firstFrame: 100, frames: 10, node: 3)
    try map.addMemory(firstFrame: 200, frames: 10, node: 0)
    #expect(map.memoryRanges.map(\.firstFrame.number) == [100, 200, 300])
    #expect(map.memoryRanges.map(\.node.index) == [3, 0, 1])
    #expect(map.nodeCount == 4)
    #expect(map.totalFrames == 30)
    #expect(map.lowestFrame.number == 100 && map.highestFrame.number == 309)
  }

  @Test func `Usable frames are RAM without what is reserved, counted once`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 10, frames: 10)
    try map.addMemory(firstFrame: 20, frames: 10, node: 1)
    try map.addMemory(firstFrame: 40, frames: 10, node: 1)
    #expect(map.usableFrames == 30)
    try map.reserve(firstFrame: 0, frames: 5)  // outside
    try map.reserve(firstFrame: 12, frames: 2)
    try map.reserve(firstFrame: 18, frames: 4)  // over the border of two ranges
    try map.reserve(firstFrame: 28, frames: 14)  // over a hole between ranges
    try map.reserve(firstFrame: 49, frames: 50)  // beyond the end
    #expect(map.usableFrames == (2 + 4) + 6 + 7)
    try map.reserve(firstFrame: 0, frames: 1000)
    #expect(map.usableFrames == 0)
  }

  @Test func `The lowest unreserved place is found, on any node or on one`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 10, frames: 10)
    try map.addMemory(firstFrame: 20, frames: 10, node: 1)
    try map.reserve(firstFrame: 12, frames: 2)
    #expect(map.lowestUnreserved(byteCount: 1) == PageFrame(10).physicalAddress)
    #expect(map.lowestUnreserved(byteCount: 8192) == PageFrame(10).physicalAddress)
    #expect(map.lowestUnreserved(byteCount: 8193) == PageFrame(14).physicalAddress)
    #expect(map.lowestUnreserved(byteCount: 4096, node: NodeID(1)) == PageFrame(20).physicalAddress)
    #expect(map.lowestUnreserved(byteCount: 11 * 4096) == nil)
    #expect(map.lowestUnreserved(byteCount: 0) == nil)
  }

  @Test(
    arguments: [
      (0x1000, 0, PhysicalMemoryError.emptyRange(PhysicalAddress(0x1000), byteCount: 0)),
      (0x1000, -4096, .emptyRange(PhysicalAddress(0x1000), byteCount: -4096)),
      (0x1001, 0x1ffe, .smallerThanFrame(PhysicalAddress(0x1001), byteCount: 0x1ffe)),
      (UInt.max - 4095, 8192, .outsideAddressSpace(PhysicalAddress(UInt.max - 4095), byteCount: 8192)),
      (1 << 48 - 4096, 8192, .outsideAddressSpace(PhysicalAddress(1 << 48 - 4096), byteCount: 8192)),
      (0x80000, 0x1000, .overlappingMemory(PhysicalAddress(0x80000), earlier: PhysicalAddress(0x80000))),
      (0x7f000, 0x2000, .overlappingMemory(PhysicalAddress(0x7f000), earlier: PhysicalAddress(0x80000))),
      (0x8f000, 0x9000, .overlappingMemory(PhysicalAddress(0x8f000), earlier: PhysicalAddress(0x80000))),
      (0x1000, 0x10_0000, .overlappingMemory(PhysicalAddress(0x1000), earlier: PhysicalAddress(0x80000))),
    ] as [(UInt, Int, PhysicalMemoryError)])
  func `An unusable range is refused with its figures, and the map stays as it was`(
    start: UInt, byteCount: Int, error: PhysicalMemoryError
  ) throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(start: PhysicalAddress(0x80000), byteCount: 0x10000, node: NodeID(0))
    let before = map.memoryRanges
    #expect(throws: error) { try map.addMemory(start: PhysicalAddress(start), byteCount: byteCount) }
    #expect(map.memoryRanges == before && map.totalFrames == 16 && map.nodeCount == 1)
  }

  @Test func `RAM that ends at the top of the physical address space is accepted`() throws {
    var map = PhysicalMemoryMap()
    try map.addMemory(start: PhysicalAddress(1 << 48 - 8192), byteCount: 8192)
    #expect(map.highestFrame == PageFrame(1 << 36 - 1))
  }

  @Test(arguments: [-1, 64]) func `A node number out of range is refused`(index: Int) {
    var map = PhysicalMemoryMap()
    #expect(throws: PhysicalMemoryError.invalidNode(NodeID(index), limit: 64)) {
      try map.addMemory(firstFrame: 1, frames: 1, node: index)
    }
    #expect(map.memoryRangeCount == 0 && map.nodeCount == 0)
  }

  @Test func `A full map says so, and stays as it was`() throws {
    var map = PhysicalMemoryMap()
    for index in 0..<32 { try map.addMemory(firstFrame: UInt(index * 4), frames: 2) }
    let memory = map.memoryRanges
    #expect(throws: PhysicalMemoryError.tooManyMemoryRanges(limit: 32)) {
      try map.addMemory(firstFrame: 500, frames: 1)
    }
    #expect(map.memoryRanges == memory)

    for index in 0..<64 { try map.reserve(firstFrame: UInt(index * 4), frames: 1) }
    let reserved = map.reservedRanges
    #expect(throws: PhysicalMemoryError.tooManyReservedRanges(limit: 64)) {
      try map.reserve(firstFrame: 500, frames: 1)
    }
    #expect(map.reservedRanges == reserved)
    // A range that joins two others needs no room.
    try map.reserve(firstFrame: 1, frames: 3)
    #expect(map.reservedRangeCount == 63)
    #expect(map.reservedRange(at: 0) == ReservedRange(firstFrame: PageFrame(0), frameCount: 5))
  }

  @Test func `An empty reserved range is refused`() {
    var map = PhysicalMemoryMap()
    #expect(throws: PhysicalMemoryError.emptyRange(PhysicalAddress(4096), byteCount: 0)) {
      try map.reserve(start: PhysicalAddress(4096), byteCount: 0)
    }
    #expect(map.reservedRangeCount == 0)
  }

  @Test func `Errors say in one line what was wrong`() {
    let overlap = PhysicalMemoryError.overlappingMemory(PhysicalAddress(0x1000), earlier: PhysicalAddress(0))
    #expect(overlap.description == "memory at 0x0000000000001000 overlaps the range at 0x0000000000000000")
    #expect(
      PhysicalMemoryError.noUsableMemory(totalFrames: 256).description
        == "no usable memory: 1 MiB of RAM, all of it reserved")
    #expect(
      PhysicalMemoryError.metadataTooSmall(neededBytes: 10, givenBytes: 3).description
        == "frame metadata needs 10 bytes, but 3 were given")
    let others: [PhysicalMemoryError] = [
      .emptyRange(PhysicalAddress(0), byteCount: 0), .smallerThanFrame(PhysicalAddress(0), byteCount: 1),
      .outsideAddressSpace(PhysicalAddress(0), byteCount: 1), .invalidNode(NodeID(9), limit: 4),
      .tooManyMemoryRanges(limit: 1), .tooManyReservedRanges(limit: 1), .tooManyFrames(1),
    ]
    for error in others { #expect(!error.description.isEmpty && !error.description.contains("\n")) }
  }
}
