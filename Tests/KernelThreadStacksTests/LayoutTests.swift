// Where the allocator's records lie: what the most frequent operations use shares cache lines of 64 bytes.

import Testing

@testable import KernelThreadStacks

@Suite struct LayoutTests {
  @Test func `Each of the two plans among the constants is a cache line`() {
    // They are the first and the second of the constants. A size is without padding: what follows begins at a multiple of 8.
    #expect((57...64).contains(MemoryLayout<CachingPlan>.size))
    #expect(MemoryLayout<LendingPlan>.size == 64)
  }

  @Test(arguments: [StackStrategy.linear, .vmalloc, .growing], [1, 2, 8, 9, 33])
  func `A CPU's record shares a cache line with its count of node 0 and the first three stacks of its magazine`(
    _ strategy: StackStrategy, _ nodeCount: Int
  ) throws {
    let configuration = StackConfiguration(strategy)
    let layout = try StackMetadataLayout(
      configuration, StackGeometry(configuration), cpuCount: 4, nodeCount: nodeCount, totalFrames: 1 << 15)
    #expect(layout.cpuOffset % 64 == 8 && layout.cpuStride % 64 == 0)
    #expect(8 + CPURecord.headerBytes + 3 * MemoryLayout<PackedStack>.size == 64)
    // The counts of other nodes lie below it, the magazine and the reserve above: no part reaches into another.
    #expect(layout.cpuOffset - 8 * nodeCount >= StackMetadataLayout.ringOffset + 4 * Int(layout.ringMask + 1))
    let magazineEnd = CPURecord.headerBytes + 8 * configuration.cachedStacksPerCPU
    #expect(layout.reserveDistance >= magazineEnd && (layout.cpuOffset + layout.reserveDistance) % 64 == 0)
    let reserveBytes = StackReserve.headerBytes + layout.reserveLimit * ReservedFrame.bytes + 8 * nodeCount
    let reserveEnd = layout.reserveDistance + reserveBytes
    #expect(layout.cpuStride >= reserveEnd + 8 * nodeCount)
  }

  @Test(arguments: [StackStrategy.vmalloc, .growing], [4_096, 16_384, 262_144])
  func `Where frames are not counted, there are as many stacks as the records have room for`(
    _ strategy: StackStrategy, _ size: Int
  ) throws {
    let configuration = StackConfiguration(strategy, size: size)
    let geometry = try StackGeometry(configuration)
    func layout(totalFrames: Int, room: Int) throws -> StackMetadataLayout {
      try StackMetadataLayout(
        configuration, geometry, cpuCount: 4, nodeCount: 1, totalFrames: totalFrames, room: room)
    }
    // The records of one more table.
    let table = max(1, StackConfiguration.maximumStride / geometry.stride / 64) * MemoryLayout<SlotGroup>.stride
    for room in [1 << 16, 1 << 20] {
      let fitted = try layout(totalFrames: .max, room: room)
      #expect(fitted.byteCount <= room && fitted.byteCount > room - table && fitted.capacity > 64)
      // A count of frames bounds it whatever the room.
      let counted = try layout(totalFrames: 1 << 12, room: room)
      #expect(counted.capacity == (strategy == .growing ? 1 << 12 : (1 << 24) / size))
    }
    // Without room for one stack the records are larger than the room, and are refused.
    #expect(try layout(totalFrames: .max, room: 64).byteCount > 64)
    // The vmalloc area of 39-bit addresses bounds it, too.
    let largest = try layout(totalFrames: .max, room: 4 << 20)
    #expect(largest.capacity <= (1 << 37) / geometry.stride)
  }
}
