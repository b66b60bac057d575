// A switch: the choice of the thread that the current CPU continues with, and the new state of the one that it leaves.
//
//     next(after: current)
//       1. the first thread that waits for a refill, if its frames can be collected
//       2. the first that is ready here and for which the reserve suffices; one for which it does not joins the waiters
//       3. the current thread, if it can continue
//       4. one that is ready on another CPU
//       5. the idle thread
//     switching(chosen)            the CPU changes over, and completes what the old thread did here
//     current                      becomes ready, or a sleeper, or dead

import KernelMachine
import KernelThreadStacks

extension ThreadScheduler {
  /// Chooses the thread that this CPU continues with, and lets go of the current one.
  ///
  /// The caller has interrupts off, and runs on a stack that cannot fault and belongs to no thread (the exception stack). The
  /// current thread's context is saved completely, its ``ScheduledThread/savedStackPointer`` included, and its
  /// ``ScheduledThread/request`` says whether it stays, waits or exits.
  ///
  /// - Parameters:
  ///   - current: the thread that this CPU ran until now.
  ///   - stacks: the allocator of its stack.
  ///   - switching: called with the new thread, when it is another one: makes it the current one of this CPU, and leaves
  ///     the old one's address space. It must not call the scheduler. It may be called twice.
  /// - Returns: the thread to continue with. Call ``takeDeparted()`` and ``takeNotifications()`` afterwards, and
  ///   ``takeStall()`` if it is the idle thread. An idle CPU calls this again from time to time, such as at its tick.
  /// - Complexity: O(CPUs), besides refills and shrinking.
  public borrowing func next<F: FrameSource & ~Copyable, A: ~Copyable>(
    after current: ScheduledThreadPointer, stacks: borrowing ThreadStackAllocator<M, F, A>,
    switching: (ScheduledThreadPointer) -> Void
  ) -> ScheduledThreadPointer {
    let cpu = machine.currentCPU
    let queue = queue(cpu)
    var leaving = current
    while true {
      let chosen = choose(cpu, queue, leaving, stacks)
      if chosen == leaving { return chosen }
      switching(chosen)
      // All that the thread has begun here completes before another CPU can find it: its wait for an invalidation continues
      // there, and a barrier there waits for that CPU only.
      machine.completeAccesses()
      if !leave(leaving, for: chosen, cpu, queue) { return chosen }
      // The CPU was about to idle, and the thread that it has left can continue after all.
      leaving = chosen
    }
  }

  /// The thread that has left this CPU for good in ``next(after:stacks:switching:)``, if one has.
  ///
  /// The caller owns it from now on: the scheduler does not touch it any more. If its stack is to be freed here, it is freed
  /// before the next call of `next`. Interrupts are off. A second call returns `nil`.
  ///
  /// The record of the thread that was left does not show this: a thread that went to sleep may run on another CPU by now, or
  /// may have ended there, and its record with it.
  @inline(__always) public borrowing func takeDeparted() -> ScheduledThreadPointer? {
    let queue = queue(machine.currentCPU)
    guard let thread = queue.pointee.departed else { return nil }
    queue.pointee.departed = nil
    return thread
  }

  /// A thread that is ready, in state `running` and in no list; or the one that is being left; or the idle thread.
  @inline(__always) borrowing func choose<F: FrameSource & ~Copyable, A: ~Copyable>(
    _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>, _ leaving: ScheduledThreadPointer,
    _ stacks: borrowing ThreadStackAllocator<M, F, A>
  ) -> ScheduledThreadPointer {
    let idle = queue.pointee.idle.unsafelyUnwrapped
    if queue.pointee.isClosed { return idleForGood(cpu, queue, leaving, stacks) }
    var isServing = false
    if shared.pointee.refills.first != nil,
      let thread = serveFirstWaiter(cpu, queue, isIdle: leaving == idle, &isServing, stacks)
    {
      return thread
    }
    while let candidate = takeReady(cpu, queue, leaving) {
      if candidate == leaving { return leaving }
      if prepare(candidate, cpu, stacks) {
        note(.switchIn, cpu, candidate)
        if isServing { endServing(provesStall: false) }
        return candidate
      }
      waitForRefill(candidate, cpu, queue, stacks)
    }
    if shared.pointee.refills.first != nil {
      idleWithWaiters(cpu, queue, stacks, again: leaving == idle, isServing: isServing)
    }
    return idle
  }

  /// Takes a thread out of this CPU's queue, or out of another's; or the one that is being left, if it continues.
  borrowing func takeReady(
    _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>, _ leaving: ScheduledThreadPointer
  ) -> ScheduledThreadPointer? {
    let state = machine.lock(lock(of: queue))
    if !queue.pointee.isIdle {
      if let thread = queue.pointee.ready.removeFirst() {
        thread.pointee.currentState = .running
        machine.unlock(lock(of: queue), restoring: state)
        return thread
      }
      if leaving != queue.pointee.idle, goesOn(leaving) {
        machine.unlock(lock(of: queue), restoring: state)
        return leaving
      }
    }
    return takeWhenIdle(cpu, queue, state)
  }

  /// Takes a thread out of the queue of a CPU that idles, or out of another's, and has a CPU idle that finds none.
  ///
  /// The lock of the queue is held, and is released here.
  @inline(never) borrowing func takeWhenIdle(
    _ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>, _ state: InterruptState
  ) -> ScheduledThreadPointer? {
    if let thread = queue.pointee.ready.removeFirst() {
      thread.pointee.currentState = .running
      noteBusy(cpu, queue)
      machine.unlock(lock(of: queue), restoring: state)
      return thread
    }
    // A CPU that makes a thread ready from now on sees that this CPU is idle; a thread made ready before is found below.
    if !queue.pointee.isIdle {
      queue.pointee.isIdle = true
      if !queue.pointee.isClosed { noteIdle(cpu, true) }
    }
    machine.unlock(lock(of: queue), restoring: state)
    var distance = 1
    while distance < cpuCount {
      let other = cpu &+ distance < cpuCount ? cpu &+ distance : cpu &+ distance &- cpuCount
      if let thread = steal(from: other, cpu, queue) { return thread }
      distance &+= 1
    }
    return nil
  }

  /// Whether the thread that is being left can continue; takes a pending wake-up.
  ///
  /// The lock of its queue is held.
  borrowing func goesOn(_ thread: ScheduledThreadPointer) -> Bool {
    if thread.pointee.request == .wait, thread.pointee.isWakePending {
      thread.pointee.isWakePending = false
      thread.pointee.request = .stay
    }
    return thread.pointee.request == .stay
  }

  /// Takes the first thread out of another CPU's queue.
  borrowing func steal(
    from other: Int, _ cpu: Int, _ own: UnsafeMutablePointer<RunQueue>
  ) -> ScheduledThreadPointer? {
    let queue = queue(other)
    let state = machine.lock(lock(of: queue))
    let thread = queue.pointee.ready.removeFirst()
    if let thread {
      thread.pointee.currentState = .running
      thread.cpuNumber = Int32(truncatingIfNeeded: cpu)
      // A CPU that finds the thread gone sees that this CPU is not idle.
      noteBusy(cpu, own)
      // Of several that became ready, each may have been offered to this CPU.
      if queue.pointee.ready.first != nil { notifyIdleCPU(from: cpu) }
    }
    machine.unlock(lock(of: queue), restoring: state)
    return thread
  }

  /// Marks this CPU as busy: it has a thread, for which it may take frames.
  @inline(__always) borrowing func noteBusy(_ cpu: Int, _ queue: UnsafeMutablePointer<RunQueue>) {
    if !queue.pointee.isIdle { return }
    queue.pointee.isIdle = false
    queue.pointee.isQuiet = false
    noteIdle(cpu, false)
  }

  /// Lets go of a thread that this CPU does not run any more.
  ///
  /// - Returns: whether this CPU was about to idle and has a thread to run now.
  borrowing func leave(
    _ thread: ScheduledThreadPointer, for chosen: ScheduledThreadPointer, _ cpu: Int,
    _ queue: UnsafeMutablePointer<RunQueue>
  ) -> Bool {
    let state = machine.lock(lock(of: queue))
    let isIdle = chosen == queue.pointee.idle
    var isHomeless = false
    // A thread that was served while it waited for a refill was in no ready queue. If it were not counted here, another CPU's
    // failed attempt could prove a stall, although this CPU ran the thread meanwhile and has left its frames.
    if !isIdle { queue.pointee.activity &+= 1 }
    if thread != queue.pointee.idle {
      thread.pointee.isShrunk = false
      if goesOn(thread) {
        isHomeless = !makeReady(thread, queue)
      } else if thread.pointee.request == .wait {
        thread.pointee.currentState = .waiting
        queue.pointee.sleepers.append(thread)
        note(.sleep, cpu, thread)
      } else {
        note(.exit, cpu, thread)
        thread.pointee.currentState = .dead
        queue.pointee.departed = thread
      }
      thread.pointee.request = .stay
    }
    let isWanted = isIdle && queue.pointee.ready.first != nil
    if !isIdle, queue.pointee.ready.first != nil { notifyIdleCPU(from: cpu) }
    machine.unlock(lock(of: queue), restoring: state)
    if isHomeless { rehome(thread, from: cpu) }
    return isWanted
  }

  /// Puts a thread at the end of the queue of the CPU that it names.
  ///
  /// The lock of the queue is held.
  ///
  /// - Returns: whether it was added; `false` if the queue is closed. Then the thread is in no list, in state `running`, and
  ///   the caller passes it to ``rehome(_:from:)``, without the lock.
  borrowing func makeReady(
    _ thread: ScheduledThreadPointer, _ queue: UnsafeMutablePointer<RunQueue>
  ) -> Bool {
    if queue.pointee.isClosed {
      thread.pointee.currentState = .running
      return false
    }
    thread.pointee.currentState = .ready
    queue.pointee.ready.append(thread)
    queue.pointee.activity &+= 1
    return true
  }
}
