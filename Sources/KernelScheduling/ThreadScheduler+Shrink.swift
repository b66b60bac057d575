// Memory pressure: what the stack allocator keeps for speed, then the dead pages of sleeping threads.
//
// Claim protocol. A thread that sleeps is in a list, so its context is saved and no CPU runs it.
//
//     1. claim        under its queue's lock: out of the list, state `claimed`. Many threads, one after the other.
//     2. retire       pages wholly below min(saved stack pointer, floor): entries invalid, frames still named by them
//     3. invalidate   once for all of them
//     4. release      frames go back, entries empty; or, if the thread was woken meanwhile and no thread waits for frames,
//        put back     the same frames become valid again
//     5. unclaim      under its queue's lock: asleep in the list `shrunk`, or ready if woken
//
// The CPU that serves the first thread that waits for a refill also shrinks threads that wait behind it and threads that are
// ready: they are in lists like sleepers. Otherwise the dead pages of threads that are always ready could keep it waiting for
// ever, and so could sleepers that are woken in the middle of each claim, if their pages were put back then.
//
// A wake-up between 1 and 5 is only remembered. So no CPU switches the thread in before its pages are either gone
// everywhere or there again. All of it happens with interrupts off, so claims do not outlive a switch, and the thread that
// shrinks others never waits for them.
//
// A thread is examined once for each time it leaves a CPU: a sleeper is in another list afterwards. So the total cost of
// shrinking is proportional to that of going to sleep.

import KernelMachine
import KernelThreadStacks

extension ThreadScheduler {
  /// The number of threads that are claimed at a time.
  static var shrinkBatchCount: Int { 16 }

  /// Gives back memory that no thread needs: what the allocator keeps for speed, then sleepers' dead pages.
  ///
  /// The caller holds no lock; interrupts may be on or off. It takes only spin locks, and turns interrupts off for one
  /// batch of threads at a time. Call ``takeNotifications()`` afterwards.
  ///
  /// - Parameters:
  ///   - target: the number of frames that is enough; `Int.max` for all.
  ///   - stacks: the allocator of the threads' stacks.
  /// - Returns: the number of frames that went back, which may be more or fewer.
  /// - Complexity: O(sleepers that were not examined since they fell asleep).
  @discardableResult
  public borrowing func reclaim<F: FrameSource & ~Copyable, A: ~Copyable>(
    target: Int, stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> Int {
    var given = stacks.reclaim(target: target)
    while given < target, shrinkBatch(areReady: false, target: target &- given, stacks, &given) {}
    return given
  }

  /// Takes the dead pages of threads that are ready, for the first that waits for a refill, which this CPU serves.
  ///
  /// Each goes to the end of its queue, once for each time it leaves a CPU.
  ///
  /// - Returns: the number of frames that went back.
  borrowing func shrinkReady<F: FrameSource & ~Copyable, A: ~Copyable>(
    target: Int, _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> Int {
    var given = 0
    while given < target, shrinkBatch(areReady: true, target: target &- given, stacks, &given) {}
    return given
  }

  /// Shrinks some sleepers, or some threads that are ready.
  ///
  /// - Parameters:
  ///   - areReady: whether to take threads that are ready instead of sleepers.
  ///   - target: the number of frames that is enough.
  ///   - given: grows by the frames that went back.
  /// - Returns: whether there was a thread to examine.
  @inline(never)
  borrowing func shrinkBatch<F: FrameSource & ~Copyable, A: ~Copyable>(
    areReady: Bool, target: Int, _ stacks: borrowing ThreadStackAllocator<M, F, A>, _ given: inout Int
  ) -> Bool {
    let interrupts = machine.disableInterrupts()
    let cpu = machine.currentCPU
    var batch = ShrinkBatch()
    var claimed = ThreadList()
    var retired = 0
    while claimed.count < Self.shrinkBatchCount, retired < target,
      let thread = areReady ? claimReady(cpu) : claimSleeper(cpu)
    {
      claimed.append(thread)
      let pages = stacks.retireDeadPages(
        of: thread.pointee.stackBase, below: thread.pointee.lowestLiveAddress, into: &batch)
      note(.retire, cpu, thread, count: pages)
      retired &+= pages
    }
    if !batch.isEmpty {
      stacks.completeInvalidation(of: &batch)
      note(.invalidateDone, cpu, nil)
    }
    let hasLooked = claimed.first != nil
    while let thread = claimed.removeFirst() { given &+= settle(thread, wasReady: areReady, cpu, stacks) }
    machine.restoreInterrupts(interrupts)
    return hasLooked
  }

  /// Claims a sleeper that was not examined since it fell asleep; of all CPUs in turn.
  ///
  /// Interrupts are off.
  borrowing func claimSleeper(_ cpu: Int) -> ScheduledThreadPointer? {
    var candidate = shared.pointee.cursor
    for _ in 0..<cpuCount {
      candidate = candidate &+ 1 < cpuCount ? candidate &+ 1 : 0
      let queue = queue(candidate)
      if queue.pointee.sleepers.first == nil { continue }
      let state = machine.lock(lock(of: queue))
      let thread = queue.pointee.sleepers.removeFirst()
      if let thread {
        thread.pointee.currentState = .claimed
        note(.claim, cpu, thread)
      }
      machine.unlock(lock(of: queue), restoring: state)
      if let thread {
        shared.pointee.cursor = candidate
        return thread
      }
    }
    return nil
  }

  /// Claims a thread that is ready, on any CPU, and has not been examined since it left a CPU.
  ///
  /// Interrupts are off. Threads that have been examined already are passed over, one by one.
  borrowing func claimReady(_ cpu: Int) -> ScheduledThreadPointer? {
    for other in 0..<cpuCount {
      let queue = queue(other)
      if queue.pointee.ready.first == nil { continue }
      let state = machine.lock(lock(of: queue))
      var thread = queue.pointee.ready.first
      while let shrunk = thread, shrunk.pointee.isShrunk { thread = shrunk.pointee.next }
      if let thread {
        queue.pointee.ready.remove(thread)
        thread.pointee.currentState = .claimed
        note(.claim, cpu, thread)
      }
      machine.unlock(lock(of: queue), restoring: state)
      if let thread { return thread }
    }
    return nil
  }

  /// Ends a claim; the invalidation has completed.
  ///
  /// - Parameter wasReady: whether the thread was ready when it was claimed, and is so again.
  /// - Returns: the number of frames that went back.
  borrowing func settle<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ thread: ScheduledThreadPointer, wasReady: Bool, _ cpu: Int,
    _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> Int {
    // Its CPU does not change while it is claimed.
    let home = Int(thread.cpuNumber)
    let queue = queue(home)
    var state = machine.lock(lock(of: queue))
    let isWanted = thread.pointee.isWakePending
    machine.unlock(lock(of: queue), restoring: state)
    var given = 0
    let isPutBack = isWanted && !wasReady && shared.pointee.refills.first == nil
    if isPutBack {
      let restored = stacks.restoreRetiredPages(of: thread.pointee.stackBase)
      note(.putBack, cpu, thread, count: restored)
    } else {
      given = stacks.releaseRetiredPages(of: thread.pointee.stackBase)
      note(.release, cpu, thread, count: given)
    }
    state = machine.lock(lock(of: queue))
    note(.unclaim, cpu, thread)
    thread.pointee.isShrunk = !isPutBack
    let isReady = wasReady || thread.pointee.isWakePending
    var isHomeless = false
    if isReady {
      if !wasReady {
        thread.pointee.isWakePending = false
        note(.wake, cpu, thread)
      }
      isHomeless = !makeReady(thread, queue)
    } else {
      thread.pointee.currentState = .waiting
      queue.pointee.shrunk.append(thread)
    }
    machine.unlock(lock(of: queue), restoring: state)
    if isHomeless {
      rehome(thread, from: cpu)
    } else if isReady {
      notify(queue, home, from: cpu)
    }
    return given
  }

  // MARK: Threads that wait for a refill

  /// Shrinks threads that wait for a refill behind the first.
  ///
  /// This CPU serves the first, so no thread leaves the queue meanwhile. Without this, frames that no thread needs could
  /// keep the first waiting. The threads keep their places.
  ///
  /// - Returns: the number of frames that went back.
  @inline(never)
  borrowing func shrinkWaiters<F: FrameSource & ~Copyable, A: ~Copyable>(
    behind first: ScheduledThreadPointer, target: Int, _ cpu: Int,
    _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> Int {
    var given = 0
    var start = waiter(behind: first)
    while given < target, let begin = start {
      var batch = ShrinkBatch()
      var looked = 0
      var thread = start
      while looked < Self.shrinkBatchCount, let claimed = thread {
        looked &+= 1
        if !claimed.pointee.isShrunk {
          setState(.claimed, of: claimed)
          note(.claim, cpu, claimed)
          let pages = stacks.retireDeadPages(
            of: claimed.pointee.stackBase, below: claimed.pointee.lowestLiveAddress, into: &batch)
          note(.retire, cpu, claimed, count: pages)
        }
        thread = waiter(behind: claimed)
      }
      let end = thread
      if !batch.isEmpty {
        stacks.completeInvalidation(of: &batch)
        note(.invalidateDone, cpu, nil)
      }
      thread = begin
      while let claimed = thread, claimed != end {
        if claimed.pointee.state == .claimed {
          let released = stacks.releaseRetiredPages(of: claimed.pointee.stackBase)
          given &+= released
          note(.release, cpu, claimed, count: released)
          claimed.pointee.isShrunk = true
          note(.unclaim, cpu, claimed)
          setState(.waitingForRefill, of: claimed)
        }
        thread = waiter(behind: claimed)
      }
      start = end
    }
    return given
  }

  /// The thread that waits for a refill behind another.
  borrowing func waiter(behind thread: ScheduledThreadPointer) -> ScheduledThreadPointer? {
    let state = machine.lock(sharedLock)
    let next = thread.pointee.next
    machine.unlock(sharedLock, restoring: state)
    return next
  }

  borrowing func setState(_ new: ThreadState, of thread: ScheduledThreadPointer) {
    let queue = queue(Int(thread.cpuNumber))
    let state = machine.lock(lock(of: queue))
    thread.pointee.currentState = new
    machine.unlock(lock(of: queue), restoring: state)
  }
}
