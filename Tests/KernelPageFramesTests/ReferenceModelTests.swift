// The allocator against a model that knows only the frames in use, over long random sequences.
//
// The model needs no free lists: a buddy allocator that merges whatever can be merged has exactly one possible set of
// free blocks for a given set of free frames, the largest aligned ones. So after each step the figures of all orders
// and nodes have one right value.

import KernelMachine
import KernelPageFrames
import SeededRandom
import Testing

/// A bit map of frames.
private struct Model {
  struct Block {
    var frame: PageFrame
    var order: Int
    var purpose: FramePurpose
  }

  let ranges: [MemoryRange]
  let nodeCount: Int
  /// For each range, whether each of its frames is free.
  var free: [[Bool]]
  var blocks: [Block] = []

  init(_ map: borrowing PhysicalMemoryMap) {
    ranges = map.memoryRanges
    nodeCount = map.nodeCount
    let reserved = map.reservedRanges
    free = ranges.map { range in
      (0..<range.frameCount).map { offset in
        let frame = range.firstFrame + offset
        return !reserved.contains { $0.firstFrame <= frame && frame < $0.endFrame }
      }
    }
  }

  func range(of frame: PageFrame) -> Int? {
    ranges.firstIndex { $0.firstFrame <= frame && frame < $0.endFrame }
  }

  mutating func mark(_ frame: PageFrame, order: Int, free isFree: Bool) -> Bool {
    guard let range = range(of: frame), range == self.range(of: frame + (1 << order - 1)) else { return false }
    let first = frame - ranges[range].firstFrame
    for offset in first..<first + 1 << order {
      if free[range][offset] == isFree { return false }
      free[range][offset] = isFree
    }
    return true
  }

  /// Free blocks of each order on each node.
  func freeBlocks() -> [[Int]] {
    var counts = Array(repeating: Array(repeating: 0, count: 11), count: nodeCount)
    for (range, frames) in zip(ranges, free) {
      var offset = 0
      while offset < frames.count {
        guard frames[offset] else {
          offset += 1
          continue
        }
        let number = range.firstFrame.number + UInt(offset)
        var order = 0
        while order < 10, number % (2 << UInt(order)) == 0, offset + 2 << order <= frames.count,
          frames[offset + 1 << order..<offset + 2 << order].allSatisfy({ $0 })
        { order += 1 }
        counts[range.node.index][order] += 1
        offset += 1 << order
      }
    }
    return counts
  }
}

@Suite struct ReferenceModelTests {
  static func map(_ random: inout SplitMix64) throws -> PhysicalMemoryMap {
    var map = PhysicalMemoryMap()
    var next = UInt(random.next(below: 3000))
    for _ in 0..<1 + random.next(below: 4) {
      let frames = 1 + random.next(below: 900)
      try map.addMemory(firstFrame: next, frames: frames, node: random.next(below: 3))
      next += UInt(frames + (random.next(below: 2) == 0 ? 0 : random.next(below: 1500)))
    }
    try map.addMemory(firstFrame: next, frames: 1500, node: 0)
    for _ in 0..<random.next(below: 6) {
      try map.reserve(
        start: PhysicalAddress(UInt(random.next(below: Int(next) << 12))),
        byteCount: 1 + random.next(below: 100_000))
    }
    return map
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func `Every block is right, and every figure, after every step`(seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    let bed = try Bed(try Self.map(&random))
    var model = Model(bed.map)
    let initial = model.freeBlocks()
    let comment: Comment = "seed \(seed)"
    #expect(bed.allocator.totalFrames == initial.map(frames).reduce(0, +), comment)

    for step in 0..<1200 {
      let comment: Comment = "seed \(seed), step \(step)"
      // Phases of growth and of shrinkage, so that memory runs out, and is nearly all free again.
      let growing = step / 200 % 2 == 0
      if model.blocks.isEmpty || random.next(below: 10) < (growing ? 8 : 2) {
        let order = random.next(below: 4) == 0 ? random.next(below: 11) : random.next(below: 4)
        let node = random.next(below: bed.map.nodeCount)
        let available = model.freeBlocks()
        let result = Result { () throws(FrameSourceError) in try bed.take(order, on: node, for: .vmalloc) }
        switch result {
        case .success(let frame):
          try #require(frame.number % (1 << UInt(order)) == 0, comment)
          let wasFree = model.mark(frame, order: order, free: false)
          try #require(wasFree, comment)
          let served = (0..<bed.map.nodeCount).map { (node + $0) % bed.map.nodeCount }
            .first { available[$0][order...].contains { $0 > 0 } }
          try #require(bed.allocator.node(of: frame).index == served, comment)
          model.blocks.append(Model.Block(frame: frame, order: order, purpose: .vmalloc))
        case .failure(let error):
          let orders = available.map { $0.lastIndex { $0 > 0 } ?? -1 }.max() ?? -1
          let refusal = FrameRefusal(
            order: order, purpose: .vmalloc, freeFrames: available.map(frames).reduce(0, +),
            largestFreeOrder: orders)
          try #require(error == .refused(refusal), comment)
          try #require(orders < order, comment)
        }
      } else {
        let block = model.blocks.remove(at: random.next(below: model.blocks.count))
        try bed.allocator.free(block.frame, order: block.order)
        let wasTaken = model.mark(block.frame, order: block.order, free: true)
        try #require(wasTaken, comment)
      }
      try #require((0..<bed.map.nodeCount).map { bed.blocks(on: $0) } == model.freeBlocks(), comment)
      bed.allocator._checkInvariants()
      if step % 100 == 0 { try checkOwners(bed, model, comment) }
    }

    for block in model.blocks { try bed.allocator.free(block.frame, order: block.order) }
    #expect((0..<bed.map.nodeCount).map { bed.blocks(on: $0) } == initial, comment)
    bed.allocator._checkInvariants()
  }

  @Test func `The same sequence gives the same frames`() throws {
    func run() throws -> [PageFrame] {
      var random = SplitMix64(seed: 99)
      let bed = try Bed(try Self.map(&random))
      var live: [(PageFrame, Int)] = []
      var handedOut: [PageFrame] = []
      for _ in 0..<2000 {
        let order = random.next(below: 5)
        if random.next(below: 2) == 0, let frame = try? bed.take(order) {
          live.append((frame, order))
          handedOut.append(frame)
        } else if !live.isEmpty {
          let (frame, order) = live.remove(at: random.next(below: live.count))
          try bed.allocator.free(frame, order: order)
        }
      }
      return handedOut
    }
    #expect(try run() == run())
  }

  private func frames(_ blocks: [Int]) -> Int { blocks.enumerated().reduce(0) { $0 + $1.element << $1.offset } }

  private func checkOwners(_ bed: Bed, _ model: Model, _ comment: Comment) throws {
    var used: Set<UInt> = []
    for block in model.blocks {
      used.formUnion(block.frame.number..<block.frame.number + 1 << UInt(block.order))
    }
    for (range, free) in zip(model.ranges, model.free) {
      for offset in 0..<range.frameCount {
        let frame = range.firstFrame + offset
        let owner: FrameOwner =
          free[offset] ? .free : used.contains(frame.number) ? .used(.vmalloc) : .reserved
        try #require(bed.allocator.owner(of: frame) == owner, comment)
      }
    }
  }
}
