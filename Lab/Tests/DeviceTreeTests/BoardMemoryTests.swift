// The RAM that a device tree leaves to the kernel.

import DeviceTree
import DeviceTreeSamples
import KernelMachine
import KernelPageFrames
import SeededRandom
import Testing

@Suite struct BoardMemory {
  /// A board with these ranges of RAM, and ranges that must not be mapped.
  private func board(_ memory: [(UInt64, UInt64)], unmapped: [(UInt64, UInt64)]) throws -> Board {
    func ranges(_ list: [(UInt64, UInt64)]) -> [UInt8] {
      list.flatMap {
        cells(UInt32($0 >> 32), UInt32($0 & 0xffff_ffff), UInt32($1 >> 32), UInt32($1 & 0xffff_ffff))
      }
    }
    let wide = [("#address-cells", cells(2)), ("#size-cells", cells(2))]
    return try readBoard(
      flattenedDeviceTree(
        DeviceTreeNode(
          "", wide,
          [
            DeviceTreeNode("memory", [("device_type", text("memory")), ("reg", ranges(memory))]),
            DeviceTreeNode(
              "reserved-memory", wide,
              [DeviceTreeNode("firmware", [("no-map", []), ("reg", ranges(unmapped))])]),
          ])))
  }

  private func map(_ board: Board) throws -> [Range<UInt>] {
    var map = PhysicalMemoryMap()
    try board.addMemory(to: &map)
    return (0..<map.memoryRangeCount).map { map.memoryRange(at: $0) }.map {
      $0.firstFrame.physicalAddress.rawValue..<$0.endFrame.physicalAddress.rawValue
    }
  }

  @Test func `Memory that must not be mapped is no RAM, nor is a frame that it shares`() throws {
    let ram: [(UInt64, UInt64)] = [(0x1_0000, 0x10_0000)]
    #expect(try map(board(ram, unmapped: [])) == [0x1_0000..<0x11_0000])
    #expect(try map(board(ram, unmapped: [(0x2_0000, 0x1000)])) == [0x1_0000..<0x2_0000, 0x2_1000..<0x11_0000])
    #expect(try map(board(ram, unmapped: [(0x2_0ff0, 0x20)])) == [0x1_0000..<0x2_0000, 0x2_2000..<0x11_0000])
    #expect(try map(board(ram, unmapped: [(0, 0x1_0001)])) == [0x1_1000..<0x11_0000], "at the beginning")
    #expect(try map(board(ram, unmapped: [(0x10_ffff, 0x10_0000)])) == [0x1_0000..<0x10_f000], "at the end")
    #expect(try map(board(ram, unmapped: [(0, 0xffff_ffff_ffff_ffff)])) == [], "all of it")
    #expect(
      try map(board(ram, unmapped: [(0x3_0000, 0x2000), (0x2_0000, 0x1_1000), (0x3_0800, 0x10)]))
        == [0x1_0000..<0x2_0000, 0x3_2000..<0x11_0000], "holes that overlap, in any order")
    #expect(
      try map(board(ram, unmapped: [(0x2_0000, 0x1000), (0x2_1800, 0x1000)]))
        == [0x1_0000..<0x2_0000, 0x2_3000..<0x11_0000], "less than a frame between two holes is none")
  }

  @Test func `Ranges that wrap around are refused, with and without holes`() throws {
    let lists: [[(UInt64, UInt64)]] = [[], [(0x5000_0000, 0x1000)], [(0x5000_0000, .max)]]
    for unmapped in lists {
      let wrapping = try board([(0x4000_0000, 0xffff_ffff_ffff_f000)], unmapped: unmapped)
      if unmapped.first?.1 == UInt64.max {
        #expect(try map(wrapping) == [0x4000_0000..<0x5000_0000], "what wraps around is not mapped")
      } else {
        #expect(throws: PhysicalMemoryError.self) { try map(wrapping) }
      }
    }
  }

  @Test func `Every frame of the map is RAM of the tree and in no hole, and no other is left out`() throws {
    for seed in 0..<200 {
      var random = SplitMix64(seed: UInt64(seed))
      let ram = [(UInt64(0x10_0000), UInt64(64 * 4096)), (0x20_0800, UInt64(63 * 4096 + 0x900))]
      let holes = (0..<random.next(below: 5)).map { _ in
        (UInt64(0xf_0000 + random.next(below: 0x18_0000)), UInt64(1 + random.next(below: 0x1_0000)))
      }
      let ranges = try map(board(ram, unmapped: holes))
      for frame in UInt64(0xe0)..<0x260 {
        let bytes = frame * 4096..<(frame + 1) * 4096
        let expected =
          ram.contains { $0.0 <= bytes.lowerBound && bytes.upperBound <= $0.0 + $0.1 }
          && !holes.contains { bytes.overlaps($0.0..<$0.0 + $0.1) }
        #expect(
          ranges.contains { $0.contains(UInt(bytes.lowerBound)) } == expected, "seed \(seed), frame \(frame)")
      }
    }
  }
}

@Suite struct BoardRanges {
  @Test func `Ranges at the end of the address space contain and overlap what they should`() {
    let top = BoardRange(start: .max - 15, byteCount: 16)
    #expect(top.contains(BoardRange(start: .max, byteCount: 1)))
    #expect(!top.contains(BoardRange(start: .max, byteCount: 2)))
    #expect(!top.contains(BoardRange(start: 0, byteCount: 1)))
    #expect(top.overlaps(BoardRange(start: 0, byteCount: .max)))
    #expect(!top.overlaps(BoardRange(start: 0, byteCount: .max - 15)))
    #expect(!top.overlaps(BoardRange(start: .max, byteCount: 0)))
  }
}
