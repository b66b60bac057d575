// Memory that is handed over later, and memory that is taken back.

import KernelMachine
import KernelPageFrames
import SeededRandom
import Testing

@Suite struct MemoryChangeTests {
  /// 4,096 frames from 0x40000 on, of which the last 2,048 are reserved.
  static func half(cpuCount: Int = 0) throws -> Bed {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40000, frames: 4096)
    try map.reserve(start: PageFrame(0x40800).physicalAddress, byteCount: 2048 << 12)
    return try Bed(map, cpuCount: cpuCount)
  }

  @Test func `Reserved memory that is added is free, in the largest blocks, and can be handed out`() throws {
    let bed = try Self.half()
    try bed.allocator.addMemory(start: PageFrame(0x40800).physicalAddress, byteCount: 2048 << 12)
    #expect(bed.allocator.totalFrames == 4096 && bed.allocator.freeFrames == 4096)
    #expect(bed.allocator.totalFrames(on: NodeID(0)) == 4096)
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4])
    bed.allocator._checkInvariants()
    for _ in 0..<4 { _ = try bed.take(10) }
    #expect(bed.allocator.freeFrames == 0)
  }

  @Test func `A run of any place and length is added; parts merge with what is free beside them`() throws {
    let bed = try Self.half()
    for (first, count) in [(0x40801, 2), (0x40803, 1), (0x40800, 1), (0x40805, 0x3fb), (0x40804, 1)] {
      try bed.allocator.addMemory(start: PageFrame(UInt(first)).physicalAddress, byteCount: count << 12)
      bed.allocator._checkInvariants()
    }
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3])
    #expect(bed.allocator.owner(of: PageFrame(0x40c00)) == .reserved)
  }

  @Test func `Memory that is removed is not handed out, and what lies beside it in its blocks stays free`()
    throws
  {
    let bed = try Bed(frames: 2048)
    try bed.allocator.removeMemory(start: PageFrame(0x40003).physicalAddress, byteCount: 0x402 << 12)
    bed.allocator._checkInvariants()
    #expect(bed.allocator.totalFrames == 2048 - 0x402 && bed.allocator.freeFrames == 2048 - 0x402)
    // 0…2 | 0x405…0x7ff
    #expect(bed.blocks() == [2, 2, 0, 1, 1, 1, 1, 1, 1, 1, 0])
    var taken: Set<UInt> = []
    while let frame = try? bed.take(0) { taken.insert(frame.number) }
    #expect(taken.isDisjoint(with: 0x40003..<0x40405) && taken.count == 2048 - 0x402)
    for number in taken { try bed.allocator.free(PageFrame(number), order: 0) }
    bed.allocator._checkInvariants()
    try bed.allocator.addMemory(start: PageFrame(0x40003).physicalAddress, byteCount: 0x402 << 12)
    #expect(bed.blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
  }

  @Test func `A run with a frame in use is not removed, and nothing has changed`() throws {
    let bed = try Bed(frames: 1024)
    let frame = try bed.take(2)
    let blocks = bed.blocks()
    let end = frame + 4
    for (first, count) in [(frame, 1024), (frame, 1), (frame + 3, 8), (frame + 2, 1)] {
      #expect(throws: MemoryChangeError.inUse(first.physicalAddress)) {
        try bed.allocator.removeMemory(start: first.physicalAddress, byteCount: count << 12)
      }
    }
    #expect(bed.blocks() == blocks && bed.allocator.totalFrames == 1024)
    bed.allocator._checkInvariants()
    try bed.allocator.removeMemory(start: end.physicalAddress, byteCount: 1020 << 12)
    #expect(bed.allocator.freeFrames == 0)
    try bed.allocator.free(frame, order: 2)
    bed.allocator._checkInvariants()
  }

  @Test func `Frames in lists of CPUs and in the pool of zeroed frames are free, and are removed`() throws {
    let bed = try Bed(frames: 1024, cpuCount: 2)
    let frames = try (0..<6).map { _ in try bed.take(0) }
    for frame in frames { try bed.allocator.free(frame, order: 0) }
    while bed.allocator.zeroOneFrame() {}
    #expect(bed.allocator.zeroedFrames(on: NodeID(0)) > 0)
    try bed.allocator.removeMemory(start: PageFrame(0x40000).physicalAddress, byteCount: 1024 << 12)
    #expect(bed.allocator.totalFrames == 0 && bed.allocator.freeFrames == 0)
    #expect(bed.allocator.zeroedFrameLimit(on: NodeID(0)) == 0)
    bed.allocator._checkInvariants()
    try bed.allocator.addMemory(start: PageFrame(0x40000).physicalAddress, byteCount: 512 << 12)
    #expect(bed.allocator.zeroedFrameLimit(on: NodeID(0)) == 8 && bed.allocator.zeroOneFrame())
    bed.allocator._checkInvariants()
  }

  @Test func `What overlaps, is empty, or reaches beyond a range is refused by name`() throws {
    let bed = try Self.half()
    let start = PageFrame(0x40800)
    func adding(_ first: PageFrame, _ count: Int) -> MemoryChangeError? {
      do throws(MemoryChangeError) {
        try bed.allocator.addMemory(start: first.physicalAddress, byteCount: count << 12)
      } catch {
        return error
      }
      return nil
    }
    func removing(_ first: PageFrame, _ count: Int) -> MemoryChangeError? {
      do throws(MemoryChangeError) {
        try bed.allocator.removeMemory(start: first.physicalAddress, byteCount: count << 12)
      } catch {
        return error
      }
      return nil
    }
    #expect(adding(start, 0) == .notWholeFrames(start.physicalAddress))
    #expect(removing(start, -1) == .outsideMemory(start.physicalAddress))
    for (first, size) in [(start.physicalAddress + 2048, 4096), (start.physicalAddress, 6144)] {
      #expect(throws: MemoryChangeError.notWholeFrames(first)) {
        try bed.allocator.addMemory(start: first, byteCount: size)
      }
    }
    #expect(adding(start, 2049) == .outsideMemory(start.physicalAddress))
    #expect(adding(start, .max) == .outsideMemory(start.physicalAddress))
    #expect(adding(PageFrame(0x3ffff), 2) == .outsideMemory(PageFrame(0x3ffff).physicalAddress))
    #expect(adding(PageFrame(0x407ff), 2) == .notReserved(PageFrame(0x407ff).physicalAddress))
    #expect(removing(PageFrame(0x407ff), 2) == .reserved(start.physicalAddress))
    #expect(adding(start, 1) == nil && adding(start, 1) == .notReserved(start.physicalAddress))
    #expect(removing(start, 1) == nil && removing(start, 1) == .reserved(start.physicalAddress))
    #expect(
      MemoryChangeError.inUse(start.physicalAddress).description
        == "the frame at 0x0000000040800000 is in use")
    bed.allocator._checkInvariants()
  }

  @Test func `While one CPU changes memory, another is refused`() throws {
    let bed = try Self.half()
    var errors: [MemoryChangeError] = []
    bed.world.afterUnlock = {
      bed.world.afterUnlock = nil
      do throws(MemoryChangeError) {
        try bed.allocator.removeMemory(start: PageFrame(0x40000).physicalAddress, byteCount: 1 << 12)
      } catch { errors.append(error) }
    }
    try bed.allocator.addMemory(start: PageFrame(0x40800).physicalAddress, byteCount: 2048 << 12)
    #expect(errors == [.changing])
    try bed.allocator.removeMemory(start: PageFrame(0x40000).physicalAddress, byteCount: 1 << 12)
    bed.allocator._checkInvariants()
  }

  @Test(arguments: 1...6) func `At random, frames are free, used or reserved as a model has it`(seed: UInt64)
    throws
  {
    let bed = try Self.half(cpuCount: seed % 2 == 0 ? 2 : 0)
    var random = SplitMix64(seed: seed)
    var usable = Set<UInt>(0x40000..<0x40800)
    var used: Set<UInt> = []
    var changes = 0
    for _ in 0..<3000 {
      switch random.next(below: 8) {
      case 0, 1, 2:
        if let frame = try? bed.take(0) {
          #expect(usable.contains(frame.number) && used.insert(frame.number).inserted, "seed \(seed)")
        }
      case 3, 4, 5:
        guard let number = used.min(by: { $0 ^ UInt(seed) < $1 ^ UInt(seed) }) else { continue }
        used.remove(number)
        try bed.allocator.free(PageFrame(number), order: 0)
      default:
        let first = UInt(0x40000 + random.next(below: 4096))
        let run = Set(first..<min(0x41000, first + UInt(1 << random.next(below: 11))))
        let adds = random.next(below: 2) == 0
        let isRight =
          adds ? usable.isDisjoint(with: run) : run.isSubset(of: usable) && used.isDisjoint(with: run)
        do throws(MemoryChangeError) {
          if adds {
            try bed.allocator.addMemory(start: PageFrame(first).physicalAddress, byteCount: run.count << 12)
            usable.formUnion(run)
          } else {
            try bed.allocator.removeMemory(start: PageFrame(first).physicalAddress, byteCount: run.count << 12)
            usable.subtract(run)
          }
          #expect(isRight, "seed \(seed)")
          changes += 1
        } catch { #expect(!isRight, "\(error), seed \(seed)") }
      }
      #expect(
        bed.allocator.totalFrames == usable.count && bed.allocator.freeFrames == usable.count - used.count)
    }
    #expect(changes > 20, "seed \(seed)")
    bed.allocator._checkInvariants()
  }
}
