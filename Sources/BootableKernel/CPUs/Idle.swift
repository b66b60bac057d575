// What a CPU does when there is nothing to do: its part of what all CPUs are to do, or it sleeps, or stops.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64

  /// The body of idle threads.
  func idle() -> Never {
    while true {
      let state = ca_disable_interrupts()
      if PerCPU.current.pointee.state == .stopping, Scheduler.mayStop { leaveThisCPU() }
      let isWanted = hasWork
      // One that is pending ends the wait, and is taken after it.
      if !isWanted { ca_wait_for_interrupt() }
      ca_restore_interrupts(state)
      if isWanted { workOnIdleThread() }
    }
  }
#endif
