// A frame source that refuses on request: how every step of fork is made to fail in turn.

import KernelProcesses
import KernelStacks
import Synchronization

/// A frame source that can say what it has left, for the figures of a refusal.
public protocol CountingFrameSource: ProcessFrameSource, ~Copyable {
  /// The order of the largest free block on any node, or -1.
  var largestFreeOrder: Int { borrowing get }
}

/// Passes everything on to another frame source, counts, and refuses allocations when it was told to.
///
/// While nothing is armed it only adds a few atomic additions to each call.
public struct FaultInjectingFrames<Base: CountingFrameSource & ~Copyable>: ~Copyable, FrameSource {
  /// The source that really has the frames.
  public let base: Base

  // Counts down with every allocation; the one that takes it to zero is refused. Far away from zero when disarmed.
  private let countdown = Atomic<Int>(Int.max)
  private let refusesAllAfter = Atomic<Bool>(false)
  private let outstanding = Atomic<Int>(0)
  private let refusals = Atomic<Int>(0)
  private let path = Atomic<UInt64>(0)
  private let cleared = Atomic<Int>(0)
  private let clearedByStacks = Atomic<Int>(0)

  /// Wraps a frame source; nothing is refused until ``refuse(allocation:andAllAfter:)``.
  public init(_ base: consuming Base) { self.base = base }

  /// Arms the source: the `number`-th allocation from now (1 is the next) is refused.
  ///
  /// - Parameter andAllAfter: whether all later ones are refused too, until ``allowAll()``.
  public borrowing func refuse(allocation number: Int, andAllAfter: Bool = false) {
    refusesAllAfter.store(andAllAfter, ordering: .relaxed)
    countdown.store(number, ordering: .relaxed)
  }

  /// Disarms the source.
  public borrowing func allowAll() {
    refusesAllAfter.store(false, ordering: .relaxed)
    countdown.store(Int.max, ordering: .relaxed)
  }

  /// How many allocations were refused because this source was told to.
  public var injectedRefusals: Int { borrowing get { refusals.load(ordering: .relaxed) } }

  /// How many frames are handed out and not given back.
  public var framesOutstanding: Int { borrowing get { outstanding.load(ordering: .relaxed) } }

  /// What was asked for since the last call, as one number: orders and purposes in their sequence.
  ///
  /// Meaningful while one CPU allocates.
  public borrowing func takePath() -> UInt64 { path.exchange(0, ordering: .relaxed) }

  /// How many frames were handed out that had to read as zero, cleared by whomever.
  public var clearedFrames: Int {
    borrowing get { cleared.load(ordering: .relaxed) &+ clearedByStacks.load(ordering: .relaxed) }
  }

  /// How many of these were stacks' that the allocator of stacks had to clear, because no others were at hand.
  public var framesClearedByStacks: Int { borrowing get { clearedByStacks.load(ordering: .relaxed) } }

  /// Free frames on all nodes.
  public var freeFrames: Int { borrowing get { base.freeFrames } }

  // MARK: FrameSource

  /// Hands out a block, unless this allocation was to be refused.
  public borrowing func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    note(request)
    let left = countdown.subtract(1, ordering: .relaxed).newValue
    if left == 0 || (left < 0 && refusesAllAfter.load(ordering: .relaxed)) {
      refusals.add(1, ordering: .relaxed)
      throw .refused(
        FrameRefusal(
          order: request.order, purpose: request.purpose, freeFrames: base.freeFrames,
          largestFreeOrder: base.largestFreeOrder))
    }
    let frame = try base.allocate(request)
    outstanding.add(1 << request.order, ordering: .relaxed)
    if request.cleared { cleared.add(1 << request.order, ordering: .relaxed) }
    return frame
  }

  /// Hands out several single frames; each counts as an allocation of its own.
  public borrowing func allocate(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) throws(FrameSourceError) {
    // Those before the one to be refused come one by one, as they would from a source that has no more.
    guard count > 0, countdown.load(ordering: .relaxed) > count else {
      for _ in 0..<max(count, 0) { body(try allocate(request)) }
      return
    }
    for _ in 0..<count { note(request) }
    countdown.subtract(count, ordering: .relaxed)
    try base.allocate(request, count: count) { frame in
      outstanding.add(1, ordering: .relaxed)
      if request.cleared { cleared.add(1, ordering: .relaxed) }
      body(frame)
    }
  }

  /// Hands out several single frames at once, unless one of them was to be refused.
  ///
  /// Each counts as an allocation of its own.
  public borrowing func allocateTogether(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) -> FrameContents? {
    guard countdown.load(ordering: .relaxed) > count,
      let contents = base.allocateTogether(request, count: count, body)
    else { return nil }
    for _ in 0..<count { note(request) }
    countdown.subtract(count, ordering: .relaxed)
    outstanding.add(count, ordering: .relaxed)
    if contents == .zeroed {
      cleared.add(count, ordering: .relaxed)
    } else if request.cleared {
      clearedByStacks.add(count, ordering: .relaxed)
    }
    return contents
  }

  private borrowing func note(_ request: FrameRequest) {
    let step = UInt64(request.order) << 8 | UInt64(request.purpose.rawValue) + 1
    path.store((path.load(ordering: .relaxed) ^ step) &* 0x100_0000_01b3, ordering: .relaxed)
  }

  /// Takes a block back.
  public borrowing func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    try base.free(frame, order: order)
    outstanding.subtract(1 << order, ordering: .relaxed)
  }

  /// The node that a frame belongs to.
  public borrowing func node(of frame: PageFrame) -> NodeID { base.node(of: frame) }

  /// Whether a frame is one of the base's.
  public borrowing func contains(_ frame: PageFrame) -> Bool { base.contains(frame) }

  /// How many NUMA nodes there are.
  public var nodeCount: Int { borrowing get { base.nodeCount } }

  /// How many frames the source manages.
  public var totalFrames: Int { borrowing get { base.totalFrames } }
}
