// Makes free memory what a report says: exactly so many free blocks of each order, and all else in use.
//
// All free frames are taken one by one as ballast; then blocks go back, the largest first. A block of order k goes back from an
// aligned area of two that is ballast throughout. Its other half stays in use, but for smaller blocks: the first half of
// that half, of what is left of it, and so on. The last frame of an area stays ballast, so nothing merges:
//
//   |        order 3        |   order 2  | order 1 | 0 | b |
//
// Blocks of the largest order merge with nothing, and need no other half. First all blocks of the report are free, so that the
// comparison is with all of it; then all is taken again, and those go back that a request of the kernel may take: the
// others are memory of others.

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

extension Processes where Parts: ScenarioParts {
  /// How many blocks of each order are free.
  public borrowing func freeBlockCounts() -> BlockCounts {
    var counts = BlockCounts()
    for order in 0..<BlockCounts.orderCount { counts[order] = frameAllocator.freeBlocks(ofOrder: order) }
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
    frameAllocator.pauseClearing()
    defer { frameAllocator.resumeClearing() }
    let all = try leave(blocks)
    // An allocation may split a block although one of its own order is free: all is taken once more instead.
    if usable != blocks { _ = try leave(usable) }
    return all
  }

  /// Takes all that is free, and gives back blocks; returns how many are free then.
  private borrowing func leave(_ blocks: BlockCounts) throws(MemoryReplayError) -> BlockCounts {
    while let frame = try? frameAllocator.allocate(FrameRequest(purpose: .other)) { _ = frame }
    for order in stride(from: BlockCounts.orderCount - 1, through: 0, by: -1) {
      let missing = blocks[order] - giveBack(blocks[order], ofOrder: order)
      if missing > 0 {
        releaseBallast()
        throw .tooLittleMemory(order: order, missing: missing)
      }
    }
    // What lies in lists of CPUs is not in its block.
    frameAllocator.drain()
    let free = freeBlockCounts()
    for order in 0..<BlockCounts.orderCount where free[order] != blocks[order] {
      releaseBallast()
      throw .inexact(order: order, free: free[order], asked: blocks[order])
    }
    return free
  }

  /// Gives back up to `count` blocks, each from an area of two that is ballast throughout; returns how many.
  private borrowing func giveBack(_ count: Int, ofOrder order: Int) -> Int {
    var given = 0
    let area = UInt(order == BlockCounts.orderCount - 1 ? 1 << order : 2 << order)
    frameAllocator.forEachRange { lowest, frames in
      let end = lowest.number + UInt(frames)
      var first = (lowest.number + area - 1) & ~(area - 1)
      while given < count, first + area <= end {
        if isBallast(first, count: area) {
          for index in 0..<(1 << order) { returnFrame(PageFrame(first) + index, to: frameAllocator) }
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
      if frameAllocator.usedBlock(at: PageFrame(first + index)) != single { return false }
      index += 1
    }
    return true
  }
}
