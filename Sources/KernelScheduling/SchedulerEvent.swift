// The transitions of scheduling and growth, as the models in verify/ know them.
//
// The scheduler notes those that happen inside it. The others happen where it has no part: whoever handles a growth fault
// or frees a stack notes them through ``ThreadScheduler/events``.
//
//   event            noted by      when
//   consider         scheduler     a CPU looks whether its reserve suffices for a thread; `count` 1: it may refill it
//   putOff           scheduler     … in vain, and the thread remains the first of those that wait
//   switchIn         scheduler     the reserve suffices for the thread, and it is the one that this CPU goes on with
//   refill           scheduler     `count` frames came into this CPU's reserve, from the frame source or the pool
//   giveBackReserve  scheduler     an idle CPU gave its reserve back, `count` frames
//   waitForRefill    scheduler     a thread joins those that wait
//   sleep            scheduler     a thread is among the sleepers; its context is saved
//   wake             scheduler     a sleeping thread is ready
//   exit             scheduler     a thread has left its CPU for good
//   stall            scheduler     the report is taken that nothing can ever run
//   claim            scheduler     a thread that sleeps, waits or is ready belongs to the shrinker
//   retire           scheduler     `count` of its pages are unmapped, still named by their entries
//   invalidateDone   scheduler     no CPU has a translation of any page that was retired before on this CPU
//   release          scheduler     `count` of the thread's retired pages went back; the claim is over with the next line
//   putBack          scheduler     `count` of them are valid again as they were
//   unclaim          scheduler     the thread is what it was, or ready if it slept and was woken (then `wake` follows)
//   grow             fault code    `count` pages came out of the CPU's reserve
//   free             owner         the thread's stack has been freed

/// One transition.
@frozen public struct SchedulerEvent: Equatable, Sendable {
  /// What happened.
  @frozen public enum Kind: UInt8, Equatable, Sendable {
    case consider, putOff, switchIn, refill, giveBackReserve, waitForRefill, sleep, wake, exit, stall
    case claim, retire, invalidateDone, release, putBack, unclaim, grow, free
  }
  /// What happened.
  public var kind: Kind
  /// The CPU that did it.
  public var cpu: Int
  /// The thread that it happened to; 0 where there is none.
  public var thread: Int
  /// How many frames or pages.
  public var count: Int

  /// A transition with its figures.
  @inlinable public init(_ kind: Kind, cpu: Int, thread: Int = 0, count: Int = 0) {
    self.kind = kind
    self.cpu = cpu
    self.thread = thread
    self.count = count
  }
}

/// Takes note of what a scheduler does.
///
/// It is called in the middle of things, with interrupts off and perhaps with a lock held: it must not call the scheduler,
/// and takes no lock of its own.
public protocol SchedulerEvents {
  /// Whether anything listens; a constant, so that what only serves events is compiled away.
  static var isListening: Bool { get }
  /// A transition has happened.
  func note(_ event: SchedulerEvent)
}

/// Takes no note: compiled to nothing.
@frozen public struct NoSchedulerEvents: SchedulerEvents {
  /// Nobody to tell.
  @inlinable public init() {}
  /// Nobody.
  @inlinable public static var isListening: Bool { false }
  /// Nothing.
  @inlinable public func note(_ event: SchedulerEvent) {}
}
