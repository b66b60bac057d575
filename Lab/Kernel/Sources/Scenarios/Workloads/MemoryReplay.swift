// Makes free memory what a report says: exactly so many free blocks of each order, and all else in use.
//
// All free frames are taken one by one as ballast; then blocks go back, the largest first. A block of order k goes back from an
// aligned area of two that is ballast throughout. Its other half stays in use, but for smaller blocks: the first half of
// that half, of what is left of it, and so on. The last frame of an area stays ballast, so nothing merges:
//
//   |        order 3        |   order 2  | order 1 | 0 | b |
//
// Blocks of the largest order merge with nothing, and need no other half. Blocks that a report calls free but keeps from
// requests of the kernel are free first, so that the comparison is with all of the report; then they are taken, as
// memory of others.

import KernelProcesses
import KernelStacks

/// Why memory could not be made what a report says.
public enum MemoryReplayError: Error, Equatable, TextDescribable {
  /// There is no room for so many blocks.
  case tooLittleMemory(order: Int, missing: Int)
  /// Another number of blocks is free than asked.
  case inexact(order: Int, free: Int, asked: Int)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .tooLittleMemory(let order, let missing):
      sink.write("the machine has too little memory for the report: ")
      sink.write(missing)
      sink.write(" blocks of order ")
      sink.write(order)
      sink.write(" have no room")
    case .inexact(let order, let free, let asked):
      sink.write("the replay is not exact: ")
      sink.write(free)
      sink.write(" blocks of order ")
      sink.write(order)
      sink.write(" are free instead of ")
      sink.write(asked)
    }
  }
}

extension Processes where F == ScenarioFrames<M> {
  /// How many blocks of each order are free.
  public borrowing func freeBlockCounts() -> BlockCounts {
    var counts = BlockCounts()
    for order in 0..<BlockCounts.orderCount { counts[order] = stacks.frames.base.freeBlocks(ofOrder: order) }
    return counts
  }

  /// Leaves exactly some blocks free.
  ///
  /// - Parameters:
  ///   - blocks: the free blocks of the report.
  ///   - usable: those of them that stay free in the end; the others become memory of others.
  /// - Returns: what was free when all blocks of the report were.
  /// - Throws: ``MemoryReplayError``; all ballast has been given back then.
  /// - Complexity: O(frames of RAM × orders).
  public borrowing func arrange(
    _ blocks: BlockCounts, usable: BlockCounts
  ) throws(MemoryReplayError) -> BlockCounts {
    // What idle CPUs clear would be in pieces that no report has.
    stacks.frames.base.pauseClearing()
    defer { stacks.frames.base.resumeClearing() }
    while let frame = try? stacks.frames.base.allocate(FrameRequest(purpose: .other)) { _ = frame }
    for order in stride(from: BlockCounts.orderCount - 1, through: 0, by: -1) {
      let missing = blocks[order] - giveBack(blocks[order], ofOrder: order)
      if missing > 0 {
        releaseAllBallast()
        throw .tooLittleMemory(order: order, missing: missing)
      }
    }
    // What lies in lists of CPUs is not in its block.
    stacks.frames.base.drain()
    try compare(with: blocks)
    let all = freeBlockCounts()
    for order in 0..<BlockCounts.orderCount {
      for _ in usable[order]..<max(usable[order], blocks[order]) {
        let request = FrameRequest(order: order, purpose: .other)
        guard let block = try? stacks.frames.base.allocate(request) else { break }
        _ = block
      }
    }
    stacks.frames.base.drain()
    try compare(with: usable)
    return all
  }

  /// Gives back all ballast, in blocks of any order.
  public borrowing func releaseAllBallast() {
    stacks.frames.base.forEachRange { lowest, count in
      var frame = lowest
      while frame.number < lowest.number + UInt(count) {
        guard let block = stacks.frames.base.usedBlock(at: frame), block.purpose == .other else {
          frame = frame + 1
          continue
        }
        returnFrame(frame, order: block.order, to: stacks.frames.base)
        frame = frame + (1 << block.order)
      }
    }
  }

  private borrowing func compare(with asked: BlockCounts) throws(MemoryReplayError) {
    let free = freeBlockCounts()
    for order in 0..<BlockCounts.orderCount where free[order] != asked[order] {
      releaseAllBallast()
      throw .inexact(order: order, free: free[order], asked: asked[order])
    }
  }

  /// Gives back up to `count` blocks, each from an area of two that is ballast throughout; returns how many.
  private borrowing func giveBack(_ count: Int, ofOrder order: Int) -> Int {
    var given = 0
    let area = UInt(order == BlockCounts.orderCount - 1 ? 1 << order : 2 << order)
    stacks.frames.base.forEachRange { lowest, frames in
      let end = lowest.number + UInt(frames)
      var first = (lowest.number + area - 1) & ~(area - 1)
      while given < count, first + area <= end {
        if isBallast(first, count: area) {
          for index in 0..<(1 << order) { returnFrame(PageFrame(first) + index, to: stacks.frames.base) }
          given += 1
        }
        first += area
      }
    }
    return given
  }

  /// Whether frames are ballast, each by itself.
  private borrowing func isBallast(_ first: UInt, count: UInt) -> Bool {
    let single = UsedBlock(order: 0, purpose: .other)
    var index: UInt = 0
    while index < count {
      if stacks.frames.base.usedBlock(at: PageFrame(first + index)) != single { return false }
      index += 1
    }
    return true
  }
}
