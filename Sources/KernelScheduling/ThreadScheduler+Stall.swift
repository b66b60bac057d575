// A CPU that idles while threads wait for frames, and the proof that none of them can ever run.
//
// A free frame can be out of reach: in another CPU's reserve or cache, in the dead pages of a thread that is leaving its
// CPU, in the stack of one that has ended and is about to be freed, or in the registers of a CPU that moves it. So a failed
// attempt proves something only if no other CPU held any frame when it began.
//
// A CPU is *quiet* when it has gone through `next` from its idle thread to its idle thread, has given back its cache and
// its reserve on that way, and has considered no thread since. What it ran before has left it by then: a sleeper can be
// shrunk, and the stack of a thread that ended has been freed. A quiet CPU takes nothing and holds nothing.
//
//     idle CPU                                                          other CPUs
//       1st attempt: fails, nothing is ready
//       reserve and cache go back
//       lock: all quiet, sum of activity = s; unlock: others may serve    quiet  ─┐
//       2nd attempt, on any CPU: fails, nothing is ready                          │ nothing becomes ready, runs,
//       reserve and cache go back                                                 │ or begins to wait
//       lock: all quiet, and the sum still s? a stall                     quiet  ─┘
//
// While a CPU serves, quiet ones change no state, so that CPUs whose ticks coincide do not keep each other from an attempt
// that counts. Only one CPU serves, until it has checked the others, so the second attempt begins after the first check.

import KernelMachine
import KernelThreadStacks

extension ThreadScheduler {
  /// Whether no thread can run again unless memory is given back or a thread is woken.
  ///
  /// True once for each stall, on one CPU, if the stall still holds; a thread that becomes ready ends it.
  /// ``visitRefillWaiters(_:)`` visits the threads that wait.
  ///
  /// - Complexity: a load while there is no stall, else O(CPUs).
  public borrowing func takeStall() -> Bool {
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

  /// Whether no CPU holds a frame that a waiting thread may need: what the detection of a stall asks after a failed attempt.
  ///
  /// For measurements; the answer may be out of date at once.
  ///
  /// - Complexity: O(CPUs); it takes the lock of each CPU's queue.
  public borrowing func areAllCPUsQuiet() -> Bool {
    let state = machine.lock(sharedLock)
    let isQuiet = signatureOfQuiet() >= 0
    machine.unlock(sharedLock, restoring: state)
    return isQuiet
  }

  /// Gives back this CPU's reserve and cached stacks, which no other CPU can reach, since it has no thread to run and
  /// threads wait for frames.
  ///
  /// - Parameters:
  ///   - again: whether it was idle before this.
  ///   - isServing: whether it has just failed to serve the first thread, and kept other CPUs from serving meanwhile.
  @inline(never)
  borrowing func idleWithWaiters<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>, _ stacks: borrowing ThreadStackAllocator<M, F, A>,
    again: Bool, isServing: Bool
  ) {
    let wasQuiet = queue.pointee.isQuiet
    if wasQuiet, !isServing {
      // Interrupt handlers may have freed stacks here since; the CPU that serves has asked for them.
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
      // The thread that it leaves, and the stack of one that ended, come within reach, so it looks once more.
      queue.pointee.notifications |= bit(cpu)
    }
    if isServing { endServing(provesStall: true) }
    // The frames of this CPU and those of the others together may suffice for the first thread.
    if !wasQuiet { notifyIdleCPUs(from: cpu) }
  }

  /// Lets other CPUs serve, after a failed attempt.
  ///
  /// - Parameter provesStall: whether this CPU has no thread to run, and has given back its reserve and cached stacks.
  @inline(never) borrowing func endServing(provesStall: Bool) {
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
  borrowing func signatureOfQuiet() -> Int {
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
