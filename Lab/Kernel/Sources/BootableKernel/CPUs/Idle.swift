// What a CPU does when there is nothing to do: its part of what all CPUs are to do, or it clears page frames, sleeps, or
// stops.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelProcesses
  import KernelStacks
  import Scenarios

  /// How many frames an idle CPU clears before it looks for anything else to do: some 5,000 instructions.
  private var clearedFramesPerLook: Int { 16 }

  /// Clears free frames for the pool of zeroed frames.
  ///
  /// Interrupts come between two frames and not while a frame is cleared: the idle thread is never switched out with one in
  /// its hands, for which others might wait.
  ///
  /// - Returns: whether there are more to clear.
  private func clearFrames() -> Bool {
    guard KernelObjects.hasProcesses else { return false }
    for _ in 0..<clearedFramesPerLook {
      let state = ca_disable_interrupts()
      let hasCleared = KernelObjects.processes.pointee.stacks.frames.base.zeroOneFrame()
      ca_restore_interrupts(state)
      if !hasCleared { return false }
    }
    return true
  }

  /// The body of idle threads.
  ///
  /// Each tick is an occasion to look whether the pool is full: a full one costs a look.
  func idle() -> Never {
    while true {
      let isClearing = clearFrames()
      let state = ca_disable_interrupts()
      if PerCPU.current.pointee.state == .stopping, Scheduler.mayStop { leaveThisCPU() }
      let isWanted = hasWork
      // One that is pending ends the wait, and is taken after it.
      if !isWanted, !isClearing { ca_wait_for_interrupt() }
      ca_restore_interrupts(state)
      if isWanted { workOnIdleThread() }
    }
  }
#endif
