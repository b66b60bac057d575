// What a CPU does when there is nothing to do: it clears page frames, sleeps, or stops.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import KernelStacks
  import Scenarios

  /// How many frames an idle CPU clears before it waits for the next interrupt, the tick at the latest.
  private var clearedFramesPerWait: Int { 16 }

  /// The body of idle threads.
  func idle() -> Never {
    while true {
      // Interrupts come between two frames and not while a frame is cleared: the idle thread is never switched out with
      // one in its hands, which nobody could have meanwhile.
      var left = clearedFramesPerWait
      var isClearing = KernelObjects.hasProcesses
      while isClearing {
        let state = ca_disable_interrupts()
        isClearing = KernelObjects.processes.pointee.stacks.frames.base.zeroOneFrame()
        ca_restore_interrupts(state)
        left -= 1
        if left == 0 { break }
      }
      let state = ca_disable_interrupts()
      if PerCPU.current.pointee.state == .stopping, Scheduler.mayStop { leaveThisCPU() }
      // One that is pending ends the wait, and is taken after it.
      ca_wait_for_interrupt()
      ca_restore_interrupts(state)
    }
  }
#endif
