// The transitions of scheduling and growth, as the models in verify/ know them.
//
// The scheduler reports its own transitions. Code that handles a growth fault or frees a stack reports the others through
// ``ThreadScheduler/events``.
//
//   event            reported by   when
//   consider         scheduler     a CPU checks whether its reserve suffices for a thread; `count` 1: it may refill it
//   putOff           scheduler     the reserve does not suffice, and the thread remains the first that waits
//   switchIn         scheduler     the reserve suffices for the thread, and this CPU continues with the thread
//   refill           scheduler     `count` frames came into this CPU's reserve, from the frame source or the pool
//   giveBackReserve  scheduler     an idle CPU gave its reserve back, `count` frames
//   waitForRefill    scheduler     a thread joins the queue of threads that wait for a refill
//   sleep            scheduler     a thread is among the sleepers; its context is saved
//   wake             scheduler     a sleeping thread is ready
//   exit             scheduler     a thread has left its CPU for good
//   stall            scheduler     the report of a stall is taken: no thread can run
//   claim            scheduler     a thread that sleeps, waits or is ready belongs to the shrinker
//   retire           scheduler     `count` of its pages are unmapped, still named by their entries
//   invalidateDone   scheduler     no CPU has a translation of any page that was retired before on this CPU
//   release          scheduler     `count` of the thread's retired pages went back; the claim is over with the next line
//   putBack          scheduler     `count` of them are valid again as they were
//   unclaim          scheduler     the thread is as before the claim, or ready if it was woken in its sleep (`wake` follows)
//   grow             fault code    `count` pages came out of the CPU's reserve
//   free             owner         the thread's stack has been freed

/// One transition.
public struct SchedulerEvent: Equatable, Sendable {
  /// The kinds of transitions; the head of this file describes each.
  public enum Kind: UInt8, Equatable, Sendable {
    case consider, putOff, switchIn, refill, giveBackReserve, waitForRefill, sleep, wake, exit, stall
    case claim, retire, invalidateDone, release, putBack, unclaim, grow, free
  }
  /// Its kind.
  public var kind: Kind
  /// The CPU that made it.
  public var cpu: Int
  /// The thread concerned; 0 where there is none.
  public var thread: Int
  /// The number of frames or pages.
  public var count: Int

  /// A transition with its figures.
  public init(_ kind: Kind, cpu: Int, thread: Int = 0, count: Int = 0) {
    self.kind = kind
    self.cpu = cpu
    self.thread = thread
    self.count = count
  }
}

/// Receives the transitions of a scheduler.
///
/// It is called in the middle of an operation, with interrupts off and possibly with a lock held. It must neither call the
/// scheduler nor take a lock.
public protocol SchedulerEvents {
  /// Whether events are received; a constant, so that code for events alone is compiled away.
  static var isListening: Bool { get }
  /// Receives one transition.
  func note(_ event: SchedulerEvent)
}

/// Receives nothing, and compiles to nothing.
public struct NoSchedulerEvents: SchedulerEvents {
  /// Makes the receiver of no events.
  public init() {}
  /// False.
  public static var isListening: Bool { false }
  /// Does nothing.
  public func note(_ event: SchedulerEvent) {}
}
