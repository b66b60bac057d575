// The word of each frame's record that belongs to the frame's owner.

import KernelMachine
import KernelPageFrames
import SeededRandom
import Testing

@Suite struct OwnerWords {
  /// Two ranges of RAM, 40 GiB apart.
  private func bed(cpuCount: Int) throws -> Bed {
    var map = PhysicalMemoryMap()
    try map.addMemory(firstFrame: 0x40010, frames: 3000)
    try map.addMemory(firstFrame: 0x40010 + 10 << 20, frames: 2000)
    return try Bed(map, cpuCount: cpuCount)
  }

  @Test(arguments: [0, 2]) func `A word stays what its owner has written until the frame goes back`(cpus: Int)
    throws
  {
    let bed = try bed(cpuCount: cpus)
    var random = SplitMix64(seed: 7)
    var held: [(frame: PageFrame, order: Int, words: [UInt32])] = []
    for step in 0..<20_000 {
      bed.world.cpu = cpus == 0 ? 0 : random.next(below: cpus)
      if random.next(below: 100) < 55 {
        let order = random.next(below: 8) == 0 ? random.next(below: 6) : 0
        guard let frame = try? bed.take(order) else { continue }
        let words = (0..<1 << order).map { _ in UInt32(truncatingIfNeeded: random.next()) }
        for (index, word) in words.enumerated() {
          bed.allocator.ownerWord(of: frame + index)?.pointee = word
        }
        held.append((frame, order, words))
      } else if !held.isEmpty {
        let (frame, order, words) = held.takeOut(random.next(below: held.count))
        for (index, word) in words.enumerated() {
          let found = bed.allocator.ownerWord(of: frame + index)?.pointee
          #expect(found == word, "step \(step)")
        }
        try bed.allocator.free(frame, order: order)
      }
      if step % 500 == 0 { bed.allocator._checkInvariants() }
    }
    for (frame, order, _) in held { try bed.allocator.free(frame, order: order) }
    bed.allocator.drain()
    bed.allocator._checkInvariants()
    #expect(bed.allocator.freeFrames == 5000)
  }

  @Test func `Frames that are not managed have none`() throws {
    let bed = try bed(cpuCount: 0)
    for frame in [0, 0x4000f, 0x40010 + 3000, 0x40010 + 10 << 20 - 1, UInt.max] as [UInt] {
      let word = bed.allocator.ownerWord(of: PageFrame(frame))
      #expect(word == nil)
    }
  }

  @Test func `Ranges of RAM are visited from the lowest up, and no hole`() throws {
    let bed = try bed(cpuCount: 0)
    var ranges: [Range<UInt>] = []
    bed.allocator.forEachRange { ranges.append($0.number..<$0.number + UInt($1)) }
    let second: UInt = 0x40010 + 10 << 20
    #expect(ranges == [0x40010..<0x40010 + 3000, second..<second + 2000])
  }
}

extension Array {
  /// Removes an element; the last takes its place.
  fileprivate mutating func takeOut(_ index: Int) -> Element {
    swapAt(index, count - 1)
    return removeLast()
  }
}
