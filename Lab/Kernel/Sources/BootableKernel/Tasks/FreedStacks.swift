// What the timer tick does for freed stacks: other CPUs' requests, and the passing of time.
#if hasFeature(Embedded)
  import AArch64Machine
  import KernelProcesses
  import KernelStacks
  import Scenarios

  /// Gives back freed stacks: those that another CPU has asked this one for, and once a second some that nobody has wanted.
  ///
  /// In the tick's handler, with interrupts off.
  func serveFreedStacks(tick: Int) {
    guard KernelObjects.hasProcesses else { return }
    KernelObjects.processes.pointee.stacks.serviceReclaimRequest()
    if AArch64().currentCPU == 0, tick % Int(TickTimer.frequency) == 0 { ageFreedStacks() }
  }

  // Interrupts are off, so that what this CPU counts meanwhile is all due to the clock.
  private func ageFreedStacks() {
    let before = AArch64().invalidationsOfThisCPU
    KernelObjects.processes.pointee.stacks.age()
    PerCPU.current.pointee.agingInvalidations &+= Int(AArch64().invalidationsOfThisCPU &- before)
  }

  /// How many invalidations of kernel addresses the clock has issued, on all CPUs.
  var agingInvalidations: Int {
    var sum = 0
    forEachCPU { _, cpu in sum &+= cpu.pointee.agingInvalidations }
    return sum
  }
#endif
