// Stopping a CPU while others go on running.
//
//     closeCPU(n)         no thread becomes ready on CPU n any more; those that are ready there go to others
//     n: next(…)          yields the idle thread, and the thread that n ran goes to another CPU; reserve and cached stacks
//                         go back
//     n: mayStop(n)       true once it has gone through next(…) from idle to idle: it may stop
//     n: startCPU(…)      it runs threads again
//
// Sleepers stay in the closed CPU's lists, where shrinking finds them: any CPU can take its lock. A sleeper that is woken becomes
// ready on another CPU. A closed CPU that idles has no reserve, so stall detection treats it as idle.

import KernelMachine
import KernelThreadStacks

extension ThreadScheduler {
  /// Closes a CPU: from its next switch on, it runs only its idle thread.
  ///
  /// The caller ensures that the CPU enters ``next(after:stacks:switching:)`` once more; ``mayStop(_:)`` says when the CPU
  /// may stop. ``startCPU(running:idle:)`` opens it again. Interrupts may be on or off. Call ``takeNotifications()``
  /// afterwards.
  ///
  /// - Parameter cpu: its number; it may be the current one.
  /// - Returns: whether this call has closed it: false if it takes no part, is closed already, or is the last open one.
  /// - Complexity: O(threads that are ready there).
  public borrowing func closeCPU(_ cpu: Int) -> Bool {
    guard isCPU(cpu) else { return false }
    let queue = queue(cpu)
    // Under this lock, so that two callers do not close the last two CPUs.
    let outer = machine.lock(sharedLock)
    var others = 0
    for other in 0..<cpuCount where other != cpu && isOpen(other) { others &+= 1 }
    let isClosing = others > 0 && isOpen(cpu)
    if isClosing {
      let inner = machine.lock(lock(of: queue))
      queue.pointee.isClosed = true
      noteIdle(cpu, false)
      machine.unlock(lock(of: queue), restoring: inner)
    }
    machine.unlock(sharedLock, restoring: outer)
    if isClosing { while rehomeReady(of: queue) {} }
    return isClosing
  }

  /// Whether a CPU that took part has been closed.
  public borrowing func isClosed(_ cpu: Int) -> Bool { isCPU(cpu) && queue(cpu).pointee.isClosed }

  /// Whether threads can become ready on a CPU.
  borrowing func isOpen(_ cpu: Int) -> Bool {
    queue(cpu).pointee.idle != nil && !queue(cpu).pointee.isClosed
  }

  /// Moves the first thread of a closed queue to another queue.
  ///
  /// - Returns: whether there was one.
  borrowing func rehomeReady(of queue: UnsafeMutablePointer<RunQueue>) -> Bool {
    let interrupts = machine.disableInterrupts()
    let state = machine.lock(lock(of: queue))
    let thread = queue.pointee.ready.removeFirst()
    if let thread { thread.pointee.currentState = .running }
    machine.unlock(lock(of: queue), restoring: state)
    if let thread { rehome(thread, from: machine.currentCPU) }
    machine.restoreInterrupts(interrupts)
    return thread != nil
  }

  /// Makes a thread ready on a CPU that is not closed.
  ///
  /// It is in no list, in state `running`, and its context is saved. Interrupts are off.
  ///
  /// - Parameter cpu: the current CPU.
  @inline(never) borrowing func rehome(_ thread: ScheduledThreadPointer, from cpu: Int) {
    var home = Int(thread.cpuNumber)
    while true {
      var candidate = home
      for _ in 0..<cpuCount {
        candidate = candidate &+ 1 < cpuCount ? candidate &+ 1 : 0
        if isOpen(candidate) { break }
      }
      var state = machine.lock(lock(of: queue(home)))
      thread.cpuNumber = Int32(truncatingIfNeeded: candidate)
      machine.unlock(lock(of: queue(home)), restoring: state)
      // The queue may have been closed since, while another was opened.
      state = machine.lock(lock(of: queue(candidate)))
      let isThere = makeReady(thread, queue(candidate))
      machine.unlock(lock(of: queue(candidate)), restoring: state)
      if isThere {
        notify(queue(candidate), candidate, from: cpu)
        return
      }
      home = candidate
    }
  }

  /// Whether a closed CPU idles without ready threads, reserve or cached stacks, so that it may stop.
  ///
  /// The answer is stable on that CPU, with interrupts off; elsewhere it may change at any time.
  public borrowing func mayStop(_ cpu: Int) -> Bool {
    guard isCPU(cpu) else { return false }
    let queue = queue(cpu)
    return queue.pointee.isClosed && queue.pointee.isIdle && queue.pointee.isQuiet
      && queue.pointee.ready.first == nil
  }

  /// Gives back the reserve and cached stacks of the current CPU, because it is closed.
  ///
  /// - Returns: its idle thread.
  @inline(never)
  borrowing func idleForGood<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>, _ leaving: ScheduledThreadPointer,
    _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> ScheduledThreadPointer {
    let idle = queue.pointee.idle.unsafelyUnwrapped
    let given = stacks.releaseReserve()
    if given > 0 { note(.giveBackReserve, cpu, nil, count: given) }
    _ = stacks.reclaim(fromStoppedCPU: cpu)
    let wasQuiet = queue.pointee.isQuiet
    let state = machine.lock(lock(of: queue))
    queue.pointee.isIdle = true
    if leaving == idle { queue.pointee.isQuiet = true }
    machine.unlock(lock(of: queue), restoring: state)
    // The stack of a thread that ended is freed after this, so the CPU looks once more.
    if leaving != idle { queue.pointee.notifications |= bit(cpu) }
    if !wasQuiet, shared.pointee.refills.first != nil { notifyIdleCPUs(from: cpu) }
    return idle
  }
}
