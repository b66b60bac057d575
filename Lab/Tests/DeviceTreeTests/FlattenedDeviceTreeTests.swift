// Malformed trees: each is refused with its mistake, and none is read beyond its end.

import DeviceTree
import DeviceTreeSamples
import SeededRandom
import Testing

/// Reads the bytes of a tree as a kernel does, on a CPU of affinity 0.
func readBoard(_ bytes: [UInt8]) throws(DeviceTreeError) -> Board {
  // A buffer of exactly this length: a byte read beyond it is found by the sanitizers.
  let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
  defer { memory.deallocate() }
  memory.copyBytes(from: bytes)
  return Board(try FlattenedDeviceTree(in: UnsafeRawBufferPointer(memory)), bootAffinity: 0)
}

/// The same bytes with another big-endian word at an offset.
func patched(_ bytes: [UInt8], at offset: Int, to word: UInt32) -> [UInt8] {
  var result = bytes
  for index in 0..<4 { result[offset + index] = UInt8(truncatingIfNeeded: word >> UInt32(24 - index * 8)) }
  return result
}

/// A board with one of each node and property that a kernel reads.
let sampleRoot = DeviceTreeNode(
  "", [("#address-cells", cells(2)), ("#size-cells", cells(2))],
  [
    DeviceTreeNode(
      "chosen",
      [
        ("bootargs", text("scenario=isolation")), ("linux,initrd-start", cells(0x4800_0000)),
        ("linux,initrd-end", cells(0, 0x4810_0000)),
      ]),
    DeviceTreeNode(
      "memory@40000000",
      [
        ("device_type", text("memory")), ("reg", cells(0, 0x4000_0000, 0, 0x800_0000)),
        ("numa-node-id", cells(1)),
      ]),
    DeviceTreeNode(
      "reserved-memory", [("#address-cells", cells(2)), ("#size-cells", cells(2))],
      [
        DeviceTreeNode("firmware@41000000", [("no-map", []), ("reg", cells(0, 0x4100_0000, 0, 0x20_0000))]),
        DeviceTreeNode("log@42000000", [("reg", cells(0, 0x4200_0000, 0, 0x1000))]),
      ]),
    DeviceTreeNode(
      "cpus", [("#address-cells", cells(1)), ("#size-cells", cells(0))],
      [
        DeviceTreeNode(
          "cpu@1", [("device_type", text("cpu")), ("reg", cells(1)), ("enable-method", text("psci"))]),
        DeviceTreeNode("cpu@0", [("device_type", text("cpu")), ("reg", cells(0))]),
      ]),
    DeviceTreeNode(
      "pl011@9000000", [("compatible", text("arm,pl011")), ("reg", cells(0, 0x900_0000, 0, 0x1000))]),
    DeviceTreeNode("psci", [("compatible", text("arm,psci-1.0")), ("method", text("hvc"))]),
    DeviceTreeNode(
      "timer",
      [
        ("compatible", text("arm,armv8-timer")),
        ("interrupts", cells(1, 13, 0x104, 1, 14, 0x104, 1, 11, 0x104, 1, 10, 0x104)),
      ]),
  ])

@Suite struct FlattenedDeviceTrees {
  static let sample = flattenedDeviceTree(sampleRoot, reservations: [(0x4300_0000, 0x1000)])

  @Test func `A tree is read to its end, each property where it belongs`() throws {
    let board = try readBoard(Self.sample)
    #expect(board.error == nil)
    #expect(board.memoryCount == 1)
    #expect(board.memory[0] == BoardRange(start: 0x4000_0000, byteCount: 0x800_0000, node: 1))
    #expect(board.reservationCount == 3)
    #expect(board.reservations[0] == BoardRange(start: 0x4100_0000, byteCount: 0x20_0000, isUnmapped: true))
    #expect(board.reservations[1] == BoardRange(start: 0x4200_0000, byteCount: 0x1000))
    #expect(board.reservations[2] == BoardRange(start: 0x4300_0000, byteCount: 0x1000))
    #expect(board.cpuCount == 2 && board.namesBootCPU)
    #expect(
      board.cpus[0].affinity == 0 && board.cpus[1].affinity == 1 && board.cpus[1].startMethod == .firmware)
    #expect(
      board.serialPort
        == BoardSerialPort(kind: .pl011, registers: BoardRange(start: 0x900_0000, byteCount: 0x1000)))
    #expect(board.timerInterrupt == 11)
    #expect(board.firmware.startsCPUs && board.firmware.tellsStates)
    #expect(board.initialRAMDisk == BoardRange(start: 0x4800_0000, byteCount: 0x10_0000))
  }

  @Test func `A header that lies is refused`() {
    let sample = Self.sample
    #expect(throws: DeviceTreeError.missing) { try readBoard([UInt8](repeating: 0x5a, count: 64)) }
    #expect(throws: DeviceTreeError.missing) { try readBoard([]) }
    #expect(throws: DeviceTreeError.missing) { try readBoard(Array(sample.prefix(39))) }
    #expect(throws: DeviceTreeError.unsupportedVersion(17)) { try readBoard(patched(sample, at: 24, to: 18)) }
    #expect(throws: DeviceTreeError.unsupportedVersion(15)) { try readBoard(patched(sample, at: 20, to: 15)) }
    for size in [0, 39, UInt32(sample.count + 1), 0x20_0001, 0xffff_ffff] {
      #expect(throws: DeviceTreeError.wrongSize(size)) { try readBoard(patched(sample, at: 4, to: size)) }
    }
    for field in [8, 12, 16] {
      for offset in [0, 39, UInt32(sample.count + 1), 0xffff_ffff] {
        #expect(throws: DeviceTreeError.blockOutside(offset: offset)) {
          try readBoard(patched(sample, at: field, to: offset))
        }
      }
    }
  }

  /// The error of a tree whose structure block has these words after the root's beginning.
  private func error(ofStructure words: [UInt32]) throws -> DeviceTreeError? {
    // The structure block is at byte 56: the beginning of the root, and a property long enough to be written over.
    let root = DeviceTreeNode("", [("a", cells([UInt32](repeating: 4, count: words.count + 4)))])
    var bytes = flattenedDeviceTree(root)
    for (index, word) in words.enumerated() { bytes = patched(bytes, at: 56 + 8 + index * 4, to: word) }
    return try readBoard(bytes).error
  }

  @Test func `Tokens that no tree has end the reading`() throws {
    #expect(try error(ofStructure: [4, 4, 2, 9]) == nil)
    #expect(try error(ofStructure: [5]) == .damaged(offset: 64))
    #expect(try error(ofStructure: [0]) == .damaged(offset: 64))
    #expect(try error(ofStructure: [2, 2]) == .unbalanced(offset: 68), "an end below the root")
    #expect(try error(ofStructure: [9]) == .unbalanced(offset: 64), "the root has not ended")
    #expect(try error(ofStructure: [2, 3, 0, 0]) == .unbalanced(offset: 68), "a property of no node")
    #expect(try error(ofStructure: [3, 0xffff_ffff, 0]) == .damaged(offset: 64), "a value beyond the end")
    #expect(try error(ofStructure: [3, 0, 0xffff_ffff]) == .damaged(offset: 64), "a name beyond the end")
  }

  @Test func `Nodes within each other without end are refused at a depth`() throws {
    let endless = (0..<4096).map { UInt32($0 % 2 == 0 ? 1 : 0) }
    #expect(try error(ofStructure: endless) == .tooDeep(offset: 64 + 63 * 8))
    // As deep as is allowed.
    var root = DeviceTreeNode("leaf")
    for _ in 2...FlattenedDeviceTree.maximumDepth { root = DeviceTreeNode("n", [], [root]) }
    #expect(try readBoard(flattenedDeviceTree(root)).error == nil)
  }

  @Test func `A tree that ends before its tokens, names or reservations do is refused`() throws {
    let sample = Self.sample
    var refusals = 0
    for count in FlattenedDeviceTree.headerByteCount..<sample.count {
      let cut = patched(Array(sample.prefix(count)), at: 4, to: UInt32(count))
      do {
        let board = try readBoard(cut)
        #expect(board.error != nil, "cut to \(count) bytes")
      } catch {
        refusals += 1
      }
    }
    #expect(refusals > 0)
  }

  @Test func `Numbers of cells that no processor has are refused`() throws {
    for (count, expected) in [
      (cells(0x8000_0000, 0), UInt(1) << 63), (cells(0xffff_ffff, 0xffff_ffff), .max), (cells(5), 5),
      (cells(0xffff_ffff), 0xffff_ffff), ([], 0), ([0, 0], 0),
    ] {
      for name in ["#address-cells", "#size-cells"] {
        let root = DeviceTreeNode("", [(name, count)])
        #expect(try readBoard(flattenedDeviceTree(root)).error == .cellCount(expected))
      }
    }
  }

  @Test func `Numbers of any size are taken as they are, or left alone`() throws {
    let huge = cells(0xffff_ffff, 0xffff_ffff)
    let root = DeviceTreeNode(
      "", [("#address-cells", cells(2)), ("#size-cells", cells(2))],
      [
        DeviceTreeNode(
          "memory@0", [("device_type", text("memory")), ("numa-node-id", huge), ("reg", huge + huge)]),
        DeviceTreeNode("chosen", [("linux,initrd-start", cells(1)), ("linux,initrd-end", huge)]),
        DeviceTreeNode(
          "timer",
          [
            ("compatible", text("arm,armv8-timer")),
            ("interrupts", cells(1, 13, 0x104, 1, 14, 0x104, 1, 0xffff_fff0, 0x104)),
          ]),
      ])
    let board = try readBoard(flattenedDeviceTree(root))
    #expect(board.error == nil)
    #expect(board.memory[0].start == UInt.max && board.memory[0].byteCount == UInt.max)
    #expect(board.memory[0].node == 0xffff_ffff)
    #expect(board.initialRAMDisk.byteCount == UInt.max - 1)
    #expect(board.timerInterrupt == -1, "no private interrupt has this number")
  }

  @Test(arguments: 0..<8) func `Trees with random mistakes are read or refused`(part: Int) {
    let sample = Self.sample
    for seed in part * 2000..<(part + 1) * 2000 {
      var random = SplitMix64(seed: UInt64(seed))
      var bytes = sample
      for _ in 0..<1 + random.next(below: 4) {
        let place = random.next(below: bytes.count / 4) * 4
        let words: [UInt32] = [0, 1, 2, 3, 4, 9, 0x8000_0000, 0xffff_ffff, UInt32(random.next(below: 256))]
        bytes = patched(bytes, at: place, to: words[random.next(below: words.count)])
      }
      do {
        let board = try readBoard(bytes)
        #expect(board.memoryCount <= Board.maximumRanges && board.reservationCount <= Board.maximumRanges)
      } catch {}
    }
  }
}

@Suite struct DeviceTreeNames {
  @Test func `Names may be as long as the limit, and no longer`() throws {
    let longest = String(repeating: "n", count: FlattenedDeviceTree.longestName)
    #expect(try readBoard(flattenedDeviceTree(DeviceTreeNode(longest, [(longest, [])]))).error == nil)
    for root in [DeviceTreeNode(longest + "n"), DeviceTreeNode("", [(longest + "n", [])])] {
      #expect(try readBoard(flattenedDeviceTree(root)).error != nil)
    }
  }

  // Half a tree of properties whose names are the other half would be 10 to the 11 bytes to look at.
  @Test func `Properties that all name the same endless text are refused at once`() throws {
    let count = FlattenedDeviceTree.maximumByteCount / 2 / 12 - 16
    let words = [UInt32](repeating: 0, count: count).flatMap { _ in [3, 0, 0] as [UInt32] }
    let header: [UInt32] = [0xd00d_feed, 0, 56, UInt32(56 + 8 + words.count * 4), 40, 17, 16, 0, 0, 0]
    var bytes = cells(header + [0, 0, 0, 0, 1, 0] + words)
    bytes += [UInt8](repeating: 0x61, count: FlattenedDeviceTree.maximumByteCount - bytes.count - 1) + [0]
    bytes = patched(bytes, at: 4, to: UInt32(bytes.count))
    #expect(try readBoard(bytes).error == .damaged(offset: 56 + 8 + words.count * 4))
  }
}
