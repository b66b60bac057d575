// Threads whose stacks may need frames that are not there: who gets them first, and when nothing can ever run.
//
// The first of those that wait is served by one CPU at a time, which collects frames in its own reserve, from the frame
// source, the pool, what the allocator keeps for speed, and the dead pages of sleepers. Until it has been served, no other
// thread's reserve is refilled: others run only on what is there. A CPU that idles meanwhile gives its reserve back, so
// that frames do not lie in pieces that are too small for anybody.
//
// A stall is reported when a CPU, idle, has tried twice in vain to serve the first that waits, and all other CPUs were idle
// with empty reserves all the time, and no thread became ready or was switched in between the two.

import KernelMachine
import KernelThreadStacks

extension ThreadScheduler {
  /// Whether no thread can ever run again unless somebody gives back memory or wakes one up.
  ///
  /// True once, on one CPU, for each stall; a thread that runs afterwards ends it.
  /// ``visitRefillWaiters(_:)`` tells who waits.
  @inlinable public borrowing func takeStall() -> Bool {
    if !shared.pointee.isStalled { return false }
    let state = machine.lock(sharedLock)
    let isStalled = shared.pointee.isStalled
    shared.pointee.isStalled = false
    machine.unlock(sharedLock, restoring: state)
    return isStalled
  }

  /// Makes sure that a thread can grow its stack to the end on this CPU.
  ///
  /// The thread is in no list.
  @inlinable @inline(__always)
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

  @inlinable @inline(never)
  borrowing func prepareAfterReclaim<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ thread: ScheduledThreadPointer, _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> Bool {
    let base = thread.pointee.stackBase
    while reclaim(target: stacks.missingPageCount(base), stacks: stacks) > 0 {
      if stacks.prepareToRun(base) { return true }
    }
    return false
  }

  @inlinable borrowing func noteRefill<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ thread: ScheduledThreadPointer?, since before: Int,
    _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) {
    let after = stacks.reservedFrameCount(ofCPU: cpu)
    if after > before { note(.refill, cpu, thread, count: after &- before) }
  }

  /// Adds a thread to those that wait for a refill.
  ///
  /// It is in no list, and its CPU is this one.
  @inlinable @inline(never)
  borrowing func waitForRefill(
    _ thread: ScheduledThreadPointer, _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>
  ) {
    let outer = machine.lock(sharedLock)
    let inner = machine.lock(lock(of: queue))
    thread.pointee.currentState = .waitingForRefill
    thread.pointee.isShrunk = false
    machine.unlock(lock(of: queue), restoring: inner)
    let isFirst = shared.pointee.refills.first == nil
    shared.pointee.refills.append(thread)
    note(.waitForRefill, cpu, thread)
    machine.unlock(sharedLock, restoring: outer)
    // Idle CPUs have reserves to give back.
    if isFirst { notifyIdleCPUs(from: cpu) }
  }

  /// Collects frames for the first thread that waits.
  ///
  /// - Returns: that thread, in state `running` and in no list; `nil` if there are too few, or another CPU is at it.
  @inlinable @inline(never)
  borrowing func serveFirstWaiter<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ stacks: borrowing ThreadStackAllocator<M, F, A>
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
    }
    if Events.isListening { noteRefill(cpu, waiter, since: before, stacks) }

    state = machine.lock(sharedLock)
    shared.pointee.isServing = false
    if isPrepared {
      _ = shared.pointee.refills.removeFirst()
      // At once, so that the notes have the order of the queue.
      note(.switchIn, cpu, waiter)
      queue(cpu).pointee.isIdle = false
      let old = queue(Int(waiter.pointee.cpuNumber))
      let inner = machine.lock(lock(of: old))
      waiter.pointee.currentState = .running
      waiter.pointee.cpuNumber = Int32(truncatingIfNeeded: cpu)
      machine.unlock(lock(of: old), restoring: inner)
    } else {
      note(.putOff, cpu, waiter)
    }
    machine.unlock(sharedLock, restoring: state)
    return isPrepared ? waiter : nil
  }

  /// This CPU has nothing to run, and there are threads that wait for frames: its reserve goes back, and its cached
  /// stacks, which nobody else can reach.
  ///
  /// - Parameter again: whether it was idle before this.
  @inlinable @inline(never)
  borrowing func idleWithWaiters<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>, _ stacks: borrowing ThreadStackAllocator<M, F, A>,
    again: Bool
  ) {
    _ = stacks.reclaim(target: .max)
    let given = stacks.releaseReserve()
    if given > 0 { note(.giveBackReserve, cpu, nil, count: given) }
    let isFirstTime = !queue.pointee.hasReleasedReserve
    queue.pointee.hasReleasedReserve = true
    // What this CPU had may be what the first needs together with what the others have.
    if isFirstTime { notifyIdleCPUs(from: cpu) }
    if again { lookForStall() }
  }

  /// Finds out whether nothing can run, after a vain attempt to serve the first that waits.
  ///
  /// Nobody is served meanwhile, and whatever becomes ready or runs is seen in the sum of activity.
  @inlinable borrowing func lookForStall() {
    let outer = machine.lock(sharedLock)
    var signature = 0
    var isBusy = shared.pointee.isServing
    for cpu in 0..<cpuCount {
      let queue = queue(cpu)
      guard queue.pointee.idle != nil else { continue }
      let inner = machine.lock(lock(of: queue))
      if !queue.pointee.isIdle || !queue.pointee.hasReleasedReserve || queue.pointee.ready.first != nil {
        isBusy = true
      }
      signature &+= queue.pointee.activity
      machine.unlock(lock(of: queue), restoring: inner)
    }
    if isBusy {
      shared.pointee.stallSignature = -1
    } else if shared.pointee.stallSignature != signature {
      shared.pointee.stallSignature = signature
    } else if shared.pointee.reportedSignature != signature {
      shared.pointee.reportedSignature = signature
      shared.pointee.isStalled = true
    }
    machine.unlock(sharedLock, restoring: outer)
  }
}
