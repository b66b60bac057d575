// Threads of the kernel: made, woken, put to sleep and taken back. There are as many as memory has room for.
//
// Life of a thread, and who does what:
//
//   makeThread            created    the machine fills in the registers
//   wakeThread            awake      the machine lets it run
//   (the thread)          asleep     threadSleeps(_:), and the machine switches away from it
//   (the thread)          -          ends; its successor on the CPU calls threadHasStopped(_:): stack and record are free
//
// Locking: the lock of the process table guards the list of threads and their states.

import KernelStacks

/// The threads of the kernel; part of the state that all processes share.
struct KernelThreadsState {
  var records = RecordPool<KernelThread>()
  /// The thread that was made first, of those there are.
  var first: KernelThreadPointer?
  var last: KernelThreadPointer?
  /// The next thread that a walk through all of them comes to.
  var visited: KernelThreadPointer?
  var figures = KernelThreadFigures()
}

/// Counts of threads since ``Processes/resetThreadFigures()``.
public struct KernelThreadFigures: Sendable {
  /// How many threads were made.
  public internal(set) var made = 0
  /// How many there are.
  public internal(set) var live = 0
  /// How many there are that have begun and are not asleep.
  public internal(set) var awake = 0
  /// How many have overflown their stacks, and were ended for it.
  public internal(set) var overflown = 0

  init() {}
}

extension Processes where F: ~Copyable {
  /// The counts of threads.
  public var threadFigures: KernelThreadFigures { state.pointee.threads.figures }

  /// Starts counting anew.
  ///
  /// There is no thread.
  public borrowing func resetThreadFigures() { state.pointee.threads.figures = KernelThreadFigures() }

  /// Makes a thread with a stack of its own.
  ///
  /// - Throws: which step failed; everything half-made has been undone.
  /// - Complexity: O(1) in the number of threads.
  public borrowing func makeThread() throws(KernelThreadError) -> KernelThreadPointer {
    let stack: ThreadStack
    do { stack = try stacks.allocate(node: nil) } catch { throw .stack(error) }
    return try adopt(stack)
  }

  private borrowing func adopt(_ stack: consuming ThreadStack) throws(KernelThreadError) -> KernelThreadPointer
  {
    var owner: ThreadStack? = consume stack
    do {
      return try locked { () throws(FrameSourceError) in
        let thread = try state.pointee.threads.records.allocate(machine: machine, frames: stacks.frames)
        thread.pointee.number = Int32(truncatingIfNeeded: state.pointee.threads.figures.made)
        thread.pointee.stack = owner.take()
        let last = state.pointee.threads.last
        thread.pointee.previous = last
        if let last { last.pointee.next = thread } else { state.pointee.threads.first = thread }
        state.pointee.threads.last = thread
        state.pointee.threads.figures.made &+= 1
        state.pointee.threads.figures.live &+= 1
        return thread
      }
    } catch {
      if let stack = owner.take() { stacks.free(stack) }
      throw .record(error)
    }
  }

  /// Starts a walk through all threads, in the order in which they were made.
  public borrowing func visitThreads() {
    locked { state.pointee.threads.visited = state.pointee.threads.first }
  }

  /// Goes on with the walk until it finds a thread that has not begun or sleeps, and is wanted; counts it as awake, and
  /// lets it run.
  ///
  /// Threads may end, and others be made, while the walk goes on.
  ///
  /// A thread that is about to sleep when it is counted as awake does not sleep at all, and may end before anybody could wake
  /// it: so it is woken while its record cannot go.
  ///
  /// - Parameters:
  ///   - isWanted: asked about each such thread; the lock is held.
  ///   - resume: lets a thread run; the lock is held.
  /// - Returns: whether there was one; if not, the walk has come to its end.
  public borrowing func wakeNext(
    where isWanted: (KernelThreadPointer) -> Bool, resume: (KernelThreadPointer) -> Void
  ) -> Bool {
    locked {
      while let thread = state.pointee.threads.visited {
        state.pointee.threads.visited = thread.pointee.next
        guard thread.pointee.state != .awake, isWanted(thread) else { continue }
        noteAwake(thread)
        resume(thread)
        return true
      }
      return false
    }
  }

  /// Counts a thread that has been prepared as awake; the machine lets it run.
  ///
  /// Its record may be gone once it runs.
  public borrowing func startThread(_ thread: KernelThreadPointer) {
    locked { noteAwake(thread) }
  }

  /// Wakes sleeping threads.
  ///
  /// - Parameters:
  ///   - limit: how many at most.
  ///   - resume: lets a thread run; the lock is held, so that its record is there.
  public borrowing func wakeSleepers(_ limit: Int, resume: (KernelThreadPointer) -> Void) {
    locked {
      var left = limit
      var next = state.pointee.threads.first
      while left > 0, let thread = next {
        next = thread.pointee.next
        guard thread.pointee.state == .asleep else { continue }
        noteAwake(thread)
        resume(thread)
        left -= 1
      }
    }
  }

  /// The lock is held.
  private borrowing func noteAwake(_ thread: KernelThreadPointer) {
    thread.pointee.state = .awake
    if thread.pointee.wakeCount < UInt8.max { thread.pointee.wakeCount += 1 }
    state.pointee.threads.figures.awake &+= 1
  }

  /// Calls `body` with each thread in the order in which they were made, the lock being held.
  public borrowing func forEachThread(_ body: (KernelThreadPointer) -> Void) {
    locked {
      var next = state.pointee.threads.first
      while let thread = next {
        next = thread.pointee.next
        body(thread)
      }
    }
  }

  /// Takes back all threads, none of which has begun.
  public borrowing func discardThreads() {
    while let thread = state.pointee.threads.last { _ = threadHasStopped(thread) }
  }

  /// Notes that a thread is about to sleep; the machine does not run it again before it is woken.
  ///
  /// - Returns: whether no thread is awake now.
  public borrowing func threadSleeps(_ thread: KernelThreadPointer) -> Bool {
    locked {
      thread.pointee.state = .asleep
      state.pointee.threads.figures.awake &-= 1
      return state.pointee.threads.figures.awake == 0
    }
  }

  /// Notes that a thread ends because it has overflown its stack.
  public borrowing func threadOverflowed(_ thread: KernelThreadPointer) {
    locked { state.pointee.threads.figures.overflown &+= 1 }
  }

  /// Takes back the stack and the record of a thread that has ended, and what it had taken.
  ///
  /// Nothing runs on its stack any more: its successor calls this, with interrupts off.
  ///
  /// - Returns: whether no thread is awake now.
  public borrowing func threadHasStopped(_ thread: KernelThreadPointer) -> Bool {
    giveBackAll(from: &thread.pointee.registry)
    if let stack = thread.pointee.stack.take() { stacks.free(stack) }
    return locked {
      let (next, previous) = (thread.pointee.next, thread.pointee.previous)
      if let next { next.pointee.previous = previous } else { state.pointee.threads.last = previous }
      if let previous { previous.pointee.next = next } else { state.pointee.threads.first = next }
      if state.pointee.threads.visited == thread { state.pointee.threads.visited = next }
      if thread.pointee.state == .awake { state.pointee.threads.figures.awake &-= 1 }
      state.pointee.threads.figures.live &-= 1
      state.pointee.threads.records.free(thread, machine: machine, frames: stacks.frames)
      return state.pointee.threads.figures.awake == 0
    }
  }
}
