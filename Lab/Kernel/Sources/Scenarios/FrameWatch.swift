// The watch over page frames: refuses any one allocation of a fork, and counts what is requested.
//
//     processes, stacks --> WatchedFrames --> frame allocator         ordinarily: one load says that there is no watch
//                                |   ^
//                                v   |
//                              FrameWatch                             when a scenario has asked for it

import KernelProcesses
import KernelStacks
import Synchronization

/// Counts the requests to a frame source, and refuses those that it has been told to refuse.
public struct FrameWatch: ~Copyable {
  // Counts down with every allocation; the one that takes it to zero is refused. Far away from zero when disarmed.
  private let countdown = Atomic<Int>(Int.max)
  private let refusesAllAfter = Atomic<Bool>(false)
  private let outstanding = Atomic<Int>(0)
  private let refusals = Atomic<Int>(0)
  private let path = Atomic<UInt64>(0)
  private let cleared = Atomic<Int>(0)
  private let clearedByStacks = Atomic<Int>(0)

  init() {}

  /// Refuses the `number`-th allocation from now (1 is the next).
  ///
  /// - Parameter andAllAfter: whether all later ones are refused too, until ``allowAll()``.
  public borrowing func refuse(allocation number: Int, andAllAfter: Bool = false) {
    refusesAllAfter.store(andAllAfter, ordering: .relaxed)
    countdown.store(number, ordering: .relaxed)
  }

  /// Refuses none from now on.
  public borrowing func allowAll() {
    refusesAllAfter.store(false, ordering: .relaxed)
    countdown.store(Int.max, ordering: .relaxed)
  }

  /// The number of allocations refused on request.
  public var injectedRefusals: Int { borrowing get { refusals.load(ordering: .relaxed) } }

  /// The frames handed out since the watch began, less those given back: below 0 if more were given back.
  public var framesOutstanding: Int { borrowing get { outstanding.load(ordering: .relaxed) } }

  /// Returns a hash of the requests since the last call: orders and purposes in their sequence.
  ///
  /// Meaningful while one CPU allocates.
  public borrowing func takePath() -> UInt64 { path.exchange(0, ordering: .relaxed) }

  /// The number of frames handed out that had to read as zero, wherever they were cleared.
  public var clearedFrames: Int {
    borrowing get { cleared.load(ordering: .relaxed) &+ clearedByStacks.load(ordering: .relaxed) }
  }

  /// The number of these that the stack allocator cleared itself, because no zeroed ones were at hand.
  public var framesClearedByStacks: Int { borrowing get { clearedByStacks.load(ordering: .relaxed) } }

  // MARK: Allocations under watch

  borrowing func allocate<M: Machine>(
    _ request: FrameRequest, from base: borrowing BuddyAllocator<M>
  ) throws(FrameSourceError) -> PageFrame {
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

  borrowing func allocate<M: Machine>(
    _ request: FrameRequest, count: Int, from base: borrowing BuddyAllocator<M>, _ body: (PageFrame) -> Void
  ) throws(FrameSourceError) {
    // Those before the one to be refused come one by one, as they would from a source that has no more.
    guard count > 0, countdown.load(ordering: .relaxed) > count else {
      for _ in 0..<max(count, 0) { body(try allocate(request, from: base)) }
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

  borrowing func allocateTogether<M: Machine>(
    _ request: FrameRequest, count: Int, from base: borrowing BuddyAllocator<M>, _ body: (PageFrame) -> Void
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

  borrowing func noteFreed(order: Int) { outstanding.subtract(1 << order, ordering: .relaxed) }
}
