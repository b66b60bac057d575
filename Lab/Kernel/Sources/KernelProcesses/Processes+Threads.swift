// Kernel threads: made, woken, put to sleep and freed. Their number is limited by memory only.
//
// Life of a thread, and who does what:
//
//   makeThread            created    the machine fills in the registers
//   startThread, wakeNext awake      the machine makes it ready
//   (the thread)          asleep     threadSleeps(_:), and the machine switches away from it
//   (the thread)          -          ends; its successor on the CPU calls threadHasStopped(_:): stack and record are freed
//
// Locking: the lock of the process table guards the list of threads and their states.

import KernelStacks

/// The kernel threads: part of the state that all processes share.
struct KernelThreadsState {
  var records = RecordPool<KernelThread>()
  /// The oldest live thread.
  var first: KernelThreadPointer?
  var last: KernelThreadPointer?
  /// The next thread of the walk through all threads.
  var visited: KernelThreadPointer?
  var figures = KernelThreadFigures()
}

/// Counts of threads since ``Processes/resetThreadFigures()``.
public struct KernelThreadFigures: Sendable {
  /// The number of threads made.
  public internal(set) var made = 0
  /// The number of live threads.
  public internal(set) var live = 0
  /// The number of live threads that have begun and are not asleep.
  public internal(set) var awake = 0
  /// The number of threads ended for an overflow of their stacks.
  public internal(set) var overflowed = 0

  init() {}
}

extension Processes {
  /// The counts of threads.
  public var threadFigures: KernelThreadFigures { state.pointee.threads.figures }

  /// Resets the counts.
  ///
  /// No thread is live.
  public borrowing func resetThreadFigures() {
    locked { state.pointee.threads.figures = KernelThreadFigures() }
  }

  /// Makes a thread with a stack of its own.
  ///
  /// - Throws: the step that failed; all partial work has been undone.
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
        let thread = try state.pointee.threads.records.allocate(machine: machine, frames: frames)
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

  /// Continues the walk to the next thread that has not begun or sleeps, and is wanted; counts it as awake, and makes it ready.
  ///
  /// Threads may end, and others be made, during the walk.
  ///
  /// A thread counted as awake just before it sleeps does not sleep, and could end before it is woken: so it is woken while the
  /// lock keeps its record alive.
  ///
  /// - Parameters:
  ///   - isWanted: called with each such thread; the lock is held.
  ///   - resume: makes a thread ready; the lock is held.
  /// - Returns: whether there was one; if not, the walk is complete.
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

  /// Counts a prepared thread as awake; the machine then makes it ready.
  ///
  /// Its record may be freed once it runs.
  public borrowing func startThread(_ thread: KernelThreadPointer) {
    locked { noteAwake(thread) }
  }

  /// Wakes sleeping threads.
  ///
  /// - Parameters:
  ///   - limit: the largest number of threads to wake.
  ///   - resume: makes a thread ready; the lock is held, so that its record stays.
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

  /// Calls `body` with each thread, in the order in which they were made, with the lock held.
  public borrowing func forEachThread(_ body: (KernelThreadPointer) -> Void) {
    locked {
      var next = state.pointee.threads.first
      while let thread = next {
        next = thread.pointee.next
        body(thread)
      }
    }
  }

  /// Frees all threads, none of which has begun.
  public borrowing func discardThreads() {
    while let thread = state.pointee.threads.last { _ = threadHasStopped(thread) }
  }

  /// Marks a thread as asleep; the machine does not run it again until it is woken.
  ///
  /// - Returns: whether no thread is awake now.
  public borrowing func threadSleeps(_ thread: KernelThreadPointer) -> Bool {
    locked {
      thread.pointee.state = .asleep
      state.pointee.threads.figures.awake &-= 1
      return state.pointee.threads.figures.awake == 0
    }
  }

  /// Counts a thread that ends because it has overflowed its stack.
  public borrowing func threadOverflowed(_ thread: KernelThreadPointer) {
    locked { state.pointee.threads.figures.overflowed &+= 1 }
  }

  /// Frees the stack and the record of a thread that has ended, and the memory it had taken.
  ///
  /// Its successor on the CPU calls this, with interrupts off, when nothing runs on its stack any more.
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
      state.pointee.threads.records.free(thread, machine: machine, frames: frames)
      return state.pointee.threads.figures.awake == 0
    }
  }
}
