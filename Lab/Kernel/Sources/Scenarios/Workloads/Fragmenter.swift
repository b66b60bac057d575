// Breaks free memory into pieces, exactly: no free block above an order, and exactly so many frames free.
//
// All free frames are taken one by one as ballast, unmovable; then the seed chooses which of them go back. Memory is looked
// at in aligned groups of two buddies' worth of the order (2 frames for order 0, 4 for order 1). A block of a higher
// order is free exactly when all frames of such a group are, so of a group that is ballast throughout one frame
// always stays; all other choices are free:
//
//   order 0:  |b f|f b|b b|r f|      order 1:  |f f b f|b f b f|f f b b|r f f f|
//
// The choice is selection sampling (Knuth, TAOCP vol. 2, 3.4.2, algorithm S): each of the C frames that could go back is
// counted in turn and chosen with probability (still to choose) / (still to come), which gives exactly the number asked
// for. The allocator's own records say what is ballast: nothing else has to be remembered.

import KernelProcesses
import KernelStacks
import SeededRandom

/// Why memory could not be broken into pieces as asked.
public enum FragmentationError: Error, Equatable, TextDescribable {
  /// More frames were to stay free than can be without a larger block.
  case tooManyFreeFrames(asked: Int, possible: Int, largestFreeOrder: Int)
  /// Afterwards a larger block was free than asked, or another number of frames.
  case inexact(freeFrames: Int, asked: Int, largestFreeOrder: Int)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .tooManyFreeFrames(let asked, let possible, let order):
      sink.write(asked)
      sink.write(" frames cannot be free without a block above order ")
      sink.write(order)
      sink.write("; at most ")
      sink.write(possible)
      sink.write(" can")
    case .inexact(let free, let asked, let order):
      sink.write("fragmentation is not exact: ")
      sink.write(free)
      sink.write(" frames free instead of ")
      sink.write(asked)
      sink.write(", largest block of order ")
      sink.write(order)
    }
  }
}

extension Processes where Parts: ScenarioParts {
  /// Breaks all free memory into pieces.
  ///
  /// - Parameters:
  ///   - order: the largest order that may be free afterwards, 0 or 1.
  ///   - sharePercent: how many percent of the frames that are free now stay free, rounded down to whole frames.
  ///   - seed: which.
  /// - Returns: how many frames are ballast.
  /// - Throws: ``FragmentationError``; all ballast has been given back then.
  public borrowing func fragment(
    largestFreeOrder order: Int, freeSharePercent sharePercent: Int, seed: UInt64
  ) throws(FragmentationError) -> Int {
    // Frames that idle CPUs clear would leave pieces that the seed did not choose.
    frameAllocator.pauseClearing()
    defer { frameAllocator.resumeClearing() }
    let free = frames.freeFrames
    let target = free * sharePercent / 100
    // A frame that was asked for may be refused only when none is left.
    while let frame = try? frameAllocator.allocate(FrameRequest(purpose: .other)) { _ = frame }

    let groupSize = 2 << order
    var possible = 0
    forEachGroup(ofSize: groupSize) { (_, ballast) in possible += releasable(ballast, groupSize) }
    guard target <= possible else {
      releaseBallast()
      throw .tooManyFreeFrames(asked: target, possible: possible, largestFreeOrder: order)
    }

    var random = SplitMix64(seed: seed)
    var toChoose = target
    var toCome = possible
    forEachGroup(ofSize: groupSize) { (first, ballast) in
      var count = 0
      for _ in 0..<releasable(ballast, groupSize) {
        if random.next(below: toCome) < toChoose {
          count += 1
          toChoose -= 1
        }
        toCome -= 1
      }
      var left = ballast
      while count > 0 {
        var skip = random.next(below: left.nonzeroBitCount)
        var candidates = left
        while skip > 0 {
          candidates &= candidates - 1
          skip -= 1
        }
        let index = candidates.trailingZeroBitCount
        left &= ~(1 << UInt8(index))
        returnFrame(first + index, to: frameAllocator)
        count -= 1
      }
    }
    // What lies in lists of CPUs would be free in pieces, whether its neighbours are free or not.
    frameAllocator.drain()
    let now = frames.freeFrames
    let largest = frameAllocator.largestFreeOrder
    guard now == target, largest <= order else {
      releaseBallast()
      throw .inexact(freeFrames: now, asked: target, largestFreeOrder: largest)
    }
    return free - target
  }

  /// Gives all ballast back.
  public borrowing func releaseBallast() {
    forEachGroup(ofSize: 4) { (first, ballast) in
      for index in 0..<4 where ballast & (1 << UInt8(index)) != 0 {
        returnFrame(first + index, to: frameAllocator)
      }
    }
  }

  /// How many frames of a group may be free: one stays if all of it is ballast.
  private borrowing func releasable(_ ballast: UInt8, _ groupSize: Int) -> Int {
    min(ballast.nonzeroBitCount, groupSize - 1)
  }

  /// Calls `body` for each aligned group of frames that holds ballast, with a bit for each frame that is.
  private borrowing func forEachGroup(ofSize size: Int, _ body: (PageFrame, UInt8) -> Void) {
    let single = UsedBlock(order: 0, purpose: .other)
    frameAllocator.forEachRange { lowest, count in
      let end = lowest.number + UInt(count)
      var first = lowest.number & ~UInt(size - 1)
      while first < end {
        var ballast: UInt8 = 0
        for index in 0..<size where frameAllocator.usedBlock(at: PageFrame(first) + index) == single {
          ballast |= 1 << UInt8(index)
        }
        if ballast != 0 { body(PageFrame(first), ballast) }
        first += UInt(size)
      }
    }
  }
}
