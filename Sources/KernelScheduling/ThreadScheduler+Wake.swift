// Making threads ready, and the idle CPUs to be interrupted for them.

import KernelMachine

extension ThreadScheduler {
  /// Puts a new thread, or one whose record was made anew, at the end of this CPU's queue.
  ///
  /// Interrupts on this CPU may be on or off. Call ``takeNotifications()`` afterwards.
  ///
  /// - Complexity: O(1); O(CPUs) if this CPU is closed.
  public borrowing func enqueue(_ thread: ScheduledThreadPointer) {
    let interrupts = machine.disableInterrupts()
    // For this CPU's stores to the thread's stack: another CPU may run the thread, and free the stack.
    machine.completeAccesses()
    let cpu = machine.currentCPU
    let queue = queue(cpu)
    let state = machine.lock(lock(of: queue))
    thread.cpuNumber = Int32(truncatingIfNeeded: cpu)
    let isThere = makeReady(thread, queue)
    machine.unlock(lock(of: queue), restoring: state)
    if isThere { notify(queue, cpu, from: cpu) } else { rehome(thread, from: cpu) }
    machine.restoreInterrupts(interrupts)
  }

  /// Wakes a sleeping thread; the next wait of a thread that does not sleep ends at once.
  ///
  /// It becomes ready on the CPU that it ran on last, or on another if that one is closed. Interrupts on this CPU may be on
  /// or off. Call ``takeNotifications()`` afterwards. A dead thread stays dead, but its record must still exist.
  ///
  /// - Complexity: O(1); O(CPUs) if its CPU is closed.
  public borrowing func wake(_ thread: ScheduledThreadPointer) {
    let interrupts = machine.disableInterrupts()
    var state = interrupts
    let queue = lockQueue(of: thread, &state)
    let home = Int(thread.cpuNumber)
    var (isReady, isHomeless) = (false, false)
    if thread.pointee.state == .waiting {
      if thread.pointee.isShrunk {
        queue.pointee.shrunk.remove(thread)
      } else {
        queue.pointee.sleepers.remove(thread)
      }
      note(.wake, machine.currentCPU, thread)
      isReady = makeReady(thread, queue)
      isHomeless = !isReady
    } else {
      thread.pointee.isWakePending = true
    }
    machine.unlock(lock(of: queue), restoring: state)
    if isReady { notify(queue, home, from: machine.currentCPU) }
    if isHomeless { rehome(thread, from: machine.currentCPU) }
    machine.restoreInterrupts(interrupts)
  }

  /// The CPUs to be interrupted, because they are idle and there is work for them: bit n for CPU n.
  ///
  /// Interrupts are off. This CPU may be among them; it then calls ``next(after:stacks:switching:)`` once more. Each call
  /// empties the set.
  public borrowing func takeNotifications() -> UInt64 {
    let queue = queue(machine.currentCPU)
    let cpus = queue.pointee.notifications
    queue.pointee.notifications = 0
    return cpus
  }

  /// Notes a CPU to be told that a thread became ready on CPU `home`: that CPU if it is idle, else any idle one.
  ///
  /// Interrupts are off. The thread's queue was locked since, so either this sees that a CPU has become idle, or that CPU
  /// sees the thread.
  borrowing func notify(_ queue: UnsafeMutablePointer<RunQueue>, _ home: Int, from cpu: Int) {
    if queue.pointee.isIdle {
      self.queue(cpu).pointee.notifications |= bit(home)
    } else {
      notifyIdleCPU(from: cpu)
    }
  }

  /// Notes one idle CPU to be told, if there is one.
  ///
  /// Interrupts are off. The lock of a queue with a thread that is ready was held, or is: a CPU that is not in the set yet
  /// finds that thread.
  ///
  /// - Complexity: O(1).
  @inline(__always) borrowing func notifyIdleCPU(from cpu: Int) {
    let set = idleCPUs.pointee.set
    if set != 0 { notifyOne(of: set & ~bit(cpu), from: cpu) }
  }

  /// Notes one CPU of a set, which may be empty, to be told.
  @inline(never) borrowing func notifyOne(of cpus: UInt64, from cpu: Int) {
    queue(cpu).pointee.notifications |= cpus & (0 &- cpus)
  }

  /// Notes all idle CPUs but this one to be told of a change under the shared lock.
  ///
  /// Interrupts are off. A CPU that joins the set after its lock was held here sees the change itself.
  ///
  /// - Complexity: O(1).
  borrowing func notifyIdleCPUs(from cpu: Int) {
    let state = machine.lock(idleLock)
    let others = idleCPUs.pointee.set & ~bit(cpu)
    machine.unlock(idleLock, restoring: state)
    queue(cpu).pointee.notifications |= others
  }

  /// Adds a CPU to the set of those that may be notified, or takes it out.
  ///
  /// Interrupts are off. It is added under the lock of its queue, and only if that is not closed.
  @inline(never) borrowing func noteIdle(_ cpu: Int, _ isIdle: Bool) {
    let state = machine.lock(idleLock)
    let others = idleCPUs.pointee.set & ~bit(cpu)
    idleCPUs.pointee.set = isIdle ? others | bit(cpu) : others
    machine.unlock(idleLock, restoring: state)
  }

  /// The bit of a CPU in a set of CPUs.
  @inline(__always) func bit(_ cpu: Int) -> UInt64 { 1 &<< UInt64(truncatingIfNeeded: cpu) }
}
