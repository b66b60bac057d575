// The state of a scheduler, for all CPUs and for each of them, in memory that its maker supplies.
//
//     +0    shared: the threads that wait for a refill, their lock, stall detection
//     +64   the set of idle CPUs, its lock
//     +128  run queue of CPU 0
//     +256  run queue of CPU 1
//      …    (128 bytes each)

import KernelMachine

/// The state that all CPUs share.
struct SchedulerShared {
  /// Guards all fields below; taken before the lock of a run queue.
  var lock = SpinLock()
  /// Threads that wait for the frames that their stacks may need; first come, first served.
  var refills = ThreadList()
  /// Whether a CPU is collecting frames for the first of them.
  var isServing = false
  /// Whether a stall was found whose report has not been taken.
  var isStalled = false
  /// The sum of all activity when a stall was last found.
  var reportedSignature = -1
  /// The sum of all activity when the last failed attempt ended; -1 if not all CPUs were quiet then.
  var stallSignature = -1
  /// The CPU whose sleepers are shrunk next.
  var cursor = 0

  init() {}
}

/// The CPUs that may be interrupted because there is work, so that none has to look through all queues for one.
struct IdleCPUs {
  /// Guards changes; taken after the lock of a run queue.
  var lock = SpinLock()
  /// Bit n: CPU n runs its idle thread, or is about to, and is not closed.
  ///
  /// A CPU that has made a thread ready under the lock of a queue reads this without a lock.
  var set: UInt64 = 0

  init() {}
}

/// The state of one CPU: threads that are ready, and threads that sleep.
///
/// Its lock guards the lists, and the links, state and wake-up of each thread whose CPU this is. A thread's CPU changes
/// only under the lock of the CPU that it names.
struct RunQueue {
  var lock = SpinLock()
  /// Threads that are ready.
  var ready = ThreadList()
  /// Sleepers that may have dead pages, in the order in which they fell asleep.
  var sleepers = ThreadList()
  /// The thread that runs when no other can; `nil` for a CPU that has not started.
  var idle: ScheduledThreadPointer?
  /// Sleepers that have been shrunk since they fell asleep.
  var shrunk = ThreadList()
  /// The number of times that a thread became ready here or was switched in.
  ///
  /// It counts new refill waiters too: one that joins between two checks that found all CPUs quiet became ready in between.
  var activity = 0
  /// The CPUs to be told that there is work, one bit each; only this CPU touches it.
  var notifications: UInt64 = 0
  /// The thread that has left this CPU for good, until ``ThreadScheduler/takeDeparted()``; only this CPU touches it.
  var departed: ScheduledThreadPointer?
  /// Whether this CPU runs its idle thread, or is about to; only this CPU writes it.
  var isIdle = false
  /// Whether it has only idled since it gave back its reserve and cached stacks; only this CPU writes it, and sets it under
  /// the lock.
  var isQuiet = false
  /// Whether the queue accepts no more ready threads, because the CPU is to stop or has stopped.
  var isClosed = false

  init() {}
  static var stride: Int { 128 }
}
