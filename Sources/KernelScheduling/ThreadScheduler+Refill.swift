// Threads that wait for a refill, and the order in which they get their frames.
//
// One CPU at a time serves the first thread that waits. It collects frames in its own reserve, from the frame source, the
// refill pool, what the allocator keeps for speed, and the dead pages of others. Until that thread has been served, no
// other thread's reserve is refilled: others run only on what their CPU has. A CPU that idles meanwhile gives its reserve
// back, to the refill pool first, so that frames do not lie in pieces too small for any thread. The allocator is told how
// many threads wait, and makes no new stack meanwhile.

import KernelMachine
import KernelThreadStacks

extension ThreadScheduler {
  /// Refills this CPU's reserve for a thread, and returns whether the thread's stack can grow to its end here.
  ///
  /// The thread is in no list.
  @inline(__always)
  borrowing func prepare<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ thread: ScheduledThreadPointer, _ cpu: Int, _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> Bool {
    let before = Events.isListening ? stacks.reservedFrameCount(ofCPU: cpu) : 0
    let mayTakeFrames = shared.pointee.refills.first == nil
    note(.consider, cpu, thread, count: mayTakeFrames ? 1 : 0)
    var isPrepared = stacks.prepareToRun(thread.pointee.stackBase, mayTakeFrames: mayTakeFrames)
    if !isPrepared, mayTakeFrames { isPrepared = prepareAfterReclaim(thread, stacks) }
    if Events.isListening { noteRefill(cpu, thread, since: before, stacks) }
    return isPrepared
  }

  @inline(never)
  borrowing func prepareAfterReclaim<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ thread: ScheduledThreadPointer, _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> Bool {
    let base = thread.pointee.stackBase
    while reclaim(target: stacks.missingPageCount(base), stacks: stacks) > 0 {
      if stacks.prepareToRun(base) { return true }
    }
    return false
  }

  borrowing func noteRefill<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ thread: ScheduledThreadPointer?, since before: Int,
    _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) {
    let after = stacks.reservedFrameCount(ofCPU: cpu)
    if after > before { note(.refill, cpu, thread, count: after &- before) }
  }

  /// Adds a thread to the queue of threads that wait for a refill.
  ///
  /// It is in no list, and its CPU is this one.
  @inline(never)
  borrowing func waitForRefill<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ thread: ScheduledThreadPointer, _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>,
    _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) {
    let outer = machine.lock(sharedLock)
    let inner = machine.lock(lock(of: queue))
    thread.pointee.currentState = .waitingForRefill
    thread.pointee.isShrunk = false
    machine.unlock(lock(of: queue), restoring: inner)
    let isFirst = shared.pointee.refills.first == nil
    shared.pointee.refills.append(thread)
    stacks.noteRefillWaiters(shared.pointee.refills.count)
    note(.waitForRefill, cpu, thread)
    machine.unlock(sharedLock, restoring: outer)
    // Idle CPUs have reserves to give back.
    if isFirst { notifyIdleCPUs(from: cpu) }
  }

  /// Collects frames for the first thread that waits.
  ///
  /// - Parameters:
  ///   - isIdle: whether this CPU idled until now: then it continues to serve after a failed attempt.
  ///   - isServing: becomes true if it does so; the caller ends it.
  /// - Returns: that thread, in state `running` and in no list; `nil` if there are too few frames, or another CPU serves it.
  @inline(never)
  borrowing func serveFirstWaiter<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>, isIdle: Bool, _ isServing: inout Bool,
    _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> ScheduledThreadPointer? {
    var state = machine.lock(sharedLock)
    let waiter = shared.pointee.isServing ? nil : shared.pointee.refills.first
    if waiter != nil {
      shared.pointee.isServing = true
      note(.consider, cpu, waiter, count: 1)
    }
    machine.unlock(sharedLock, restoring: state)
    guard let waiter else { return nil }

    let before = stacks.reservedFrameCount(ofCPU: cpu)
    var isPrepared = stacks.prepareToRun(waiter.pointee.stackBase) || prepareAfterReclaim(waiter, stacks)
    if !isPrepared {
      let missing = stacks.missingPageCount(waiter.pointee.stackBase)
      isPrepared =
        shrinkWaiters(behind: waiter, target: missing, cpu, stacks) > 0
        && stacks.prepareToRun(waiter.pointee.stackBase)
      while !isPrepared, shrinkReady(target: missing, stacks) > 0 {
        isPrepared = stacks.prepareToRun(waiter.pointee.stackBase)
      }
    }
    if Events.isListening { noteRefill(cpu, waiter, since: before, stacks) }

    state = machine.lock(sharedLock)
    if isPrepared {
      shared.pointee.isServing = false
      _ = shared.pointee.refills.removeFirst()
      stacks.noteRefillWaiters(shared.pointee.refills.count)
      // At once, so that the events have the order of the queue.
      note(.switchIn, cpu, waiter)
      noteBusy(cpu, queue)
      let old = self.queue(Int(waiter.cpuNumber))
      let inner = machine.lock(lock(of: old))
      waiter.pointee.currentState = .running
      waiter.cpuNumber = Int32(truncatingIfNeeded: cpu)
      machine.unlock(lock(of: old), restoring: inner)
    } else {
      note(.putOff, cpu, waiter)
      shared.pointee.isServing = isIdle
      isServing = isIdle
    }
    machine.unlock(sharedLock, restoring: state)
    return isPrepared ? waiter : nil
  }
}
