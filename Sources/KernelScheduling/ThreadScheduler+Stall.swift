// A CPU that idles while threads wait for frames, and how it is known that none of them can ever run.
//
// A frame that is there can be out of reach: in another CPU's reserve or cache, in the dead pages of a thread that is just
// leaving its CPU, in the stack of one that has ended and is about to be freed, or on its way from one place to another in
// somebody's registers. So an attempt that found too few proves something only if no other CPU had anything when it began.
//
// A CPU is *quiet* when it has gone through `next` from its idle thread to its idle thread, has given back its cache and
// its reserve on that way, and has considered no thread since. What it ran before has left it by then: a sleeper can be
// shrunk, and the stack of a thread that ended has been freed. A quiet CPU takes nothing and holds nothing.
//
//     idle CPU                                                          other CPUs
//       1st attempt: in vain, nothing is ready
//       reserve and cache go back
//       lock: all quiet, sum of activity = s; unlock: others may serve    quiet  ─┐
//       2nd attempt, on whichever CPU: in vain, nothing is ready                  │ nothing becomes ready, runs,
//       reserve and cache go back                                                 │ or begins to wait
//       lock: all quiet, and the sum still s? a stall                     quiet  ─┘
//
// While a CPU serves, quiet ones leave everything alone, so that CPUs whose ticks coincide do not keep each other from an
// attempt that counts. Only one CPU serves, until after its look: so the second attempt begins after the first look.

import KernelMachine
import KernelThreadStacks

extension ThreadScheduler {
  /// Whether no thread can ever run again unless somebody gives back memory or wakes one up.
  ///
  /// It was so when the stall was found, and is so now. True once, on one CPU, for each stall; a thread that becomes ready
  /// ends it. ``visitRefillWaiters(_:)`` tells who waits.
  @inlinable public borrowing func takeStall() -> Bool {
    if !shared.pointee.isStalled { return false }
    let state = machine.lock(sharedLock)
    var isStalled = false
    // While another CPU serves, it may succeed: then the stall is over, and otherwise it is reported the next time.
    if shared.pointee.isStalled, !shared.pointee.isServing {
      shared.pointee.isStalled = false
      isStalled = signatureOfQuiet() == shared.pointee.reportedSignature
      if isStalled { note(.stall, machine.currentCPU, nil) }
    }
    machine.unlock(sharedLock, restoring: state)
    return isStalled
  }

  /// This CPU has nothing to run, and there are threads that wait for frames: its reserve goes back, and its cached
  /// stacks, which nobody else can reach.
  ///
  /// - Parameters:
  ///   - again: whether it was idle before this.
  ///   - isServing: whether it has just tried in vain to serve the first, and no other CPU could meanwhile.
  @inlinable @inline(never)
  borrowing func idleWithWaiters<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>, _ stacks: borrowing ThreadStackAllocator<M, F, A>,
    again: Bool, isServing: Bool
  ) {
    let wasQuiet = queue.pointee.isQuiet
    if wasQuiet, !isServing {
      // Interrupt handlers may have freed stacks here since; whoever serves has asked for them.
      _ = stacks.serviceReclaimRequest()
      return
    }
    _ = stacks.reclaim(target: .max)
    let given = stacks.releaseReserve()
    if given > 0 { note(.giveBackReserve, cpu, nil, count: given) }
    if again {
      let state = machine.lock(lock(of: queue))
      queue.pointee.isQuiet = true
      machine.unlock(lock(of: queue), restoring: state)
    } else {
      // The thread that it leaves, and the stack of one that ended, come within reach: it looks once more.
      queue.pointee.notifications |= 1 &<< UInt64(truncatingIfNeeded: cpu)
    }
    if isServing { endServing(provesStall: true) }
    // What this CPU had may be what the first needs together with what the others have.
    if !wasQuiet { notifyIdleCPUs(from: cpu) }
  }

  /// Lets other CPUs serve, after a vain attempt.
  ///
  /// - Parameter provesStall: whether this CPU has nothing to run either, and has given back all it had.
  @inlinable @inline(never) borrowing func endServing(provesStall: Bool) {
    let state = machine.lock(sharedLock)
    shared.pointee.isServing = false
    let now = provesStall ? signatureOfQuiet() : -1
    if now < 0 {
      shared.pointee.stallSignature = -1
    } else if shared.pointee.stallSignature != now {
      shared.pointee.stallSignature = now
    } else if shared.pointee.reportedSignature != now {
      shared.pointee.reportedSignature = now
      shared.pointee.isStalled = true
    }
    machine.unlock(sharedLock, restoring: state)
  }

  /// The sum of all activity if all CPUs are quiet, else -1.
  ///
  /// The shared lock is held.
  @inlinable borrowing func signatureOfQuiet() -> Int {
    var signature = 0
    var isBusy = false
    for cpu in 0..<cpuCount {
      let queue = queue(cpu)
      guard queue.pointee.idle != nil else { continue }
      let state = machine.lock(lock(of: queue))
      if !queue.pointee.isIdle || !queue.pointee.isQuiet || queue.pointee.ready.first != nil { isBusy = true }
      signature &+= queue.pointee.activity
      machine.unlock(lock(of: queue), restoring: state)
    }
    return isBusy ? -1 : signature
  }
}
