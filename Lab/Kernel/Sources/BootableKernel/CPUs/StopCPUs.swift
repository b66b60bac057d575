// Taking CPUs offline while the kernel runs, and what they had back.
//
//     online --> stopping --> (firmware) --> offline --> starting --> online
//
//     1. the scheduler is closed for the CPU: its ready threads go to others
//     2. state `stopping`, while no call to it is under way: from now on nobody calls it
//     3. its next switch leaves the thread that it runs to another CPU; its idle thread turns its interrupts off and
//        hands the CPU over to firmware
//     4. when firmware says that it is off: its cached stacks, its reserve and its lists of frames go back
//
// What it has of the vmalloc area lies behind locks, and is used and completed by others. Its stacks for exceptions and its
// idle thread stay as they are, for the next time.
#if hasFeature(Embedded)
  import AArch64Machine
  import CAArch64
  import DeviceTree
  import KernelProcesses
  import KernelStacks
  import Scenarios
  import Synchronization

  private let isChanging = Atomic<UInt64>(0)

  /// Takes a CPU offline, and gives back all that it kept.
  ///
  /// For thread code with interrupts on, which may run on that CPU. One that does not stop ends the machine.
  ///
  /// - Parameter number: the CPU.
  /// - Returns: whether it went offline; not the first, whose tick is the kernel's clock, one that is not online, or any if
  ///   firmware can't tell whether it has stopped.
  func takeOffline(_ number: Int) -> Bool {
    let firmware = KernelObjects.board.pointee.firmware
    guard number > 0, number < AArch64().cpuCount, firmware.tellsStates else { return false }
    beginChange()
    defer { endChange() }
    let cpu = PerCPU.at(number)
    guard cpu.pointee.state == .online, Scheduler.close(number) else { return false }
    withoutCalls { cpu.pointee.state = .stopping }
    InterprocessorInterrupt.reschedule.send(to: number)
    let deadline = ca_read_cntvct_el0() + 60 * ca_read_cntfrq_el0()
    while !firmware.hasStopped(cpu.pointee.affinity) {
      if ca_read_cntvct_el0() > deadline { fail("a CPU was to stop and has not in 60 seconds") }
      Scheduler.yield()
      ca_wait_for_event()
    }
    cpu.pointee.state = .offline
    inAllocatorSection {
      let stacks = KernelObjects.processes
      stacks.pointee.stacks.reclaim(fromStoppedCPU: number)
      stacks.pointee.stacks.frames.base.drain(cpu: number)
    }
    return true
  }

  /// Brings a CPU back that was taken offline, and waits until it runs threads.
  ///
  /// For thread code with interrupts on.
  ///
  /// - Returns: whether it was offline.
  func bringOnline(_ number: Int) -> Bool {
    guard number > 0, number < AArch64().cpuCount else { return false }
    beginChange()
    defer { endChange() }
    guard PerCPU.at(number).pointee.state == .offline else { return false }
    startCPU(number)
    return true
  }

  // One change at a time.
  private func beginChange() {
    while isChanging.compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing).original != 0 {
      Scheduler.yield()
    }
  }

  private func endChange() { isChanging.store(0, ordering: .releasing) }

  /// Hands this CPU over to firmware; the idle thread runs, and interrupts are off.
  func leaveThisCPU() -> Never {
    Interrupts.stopThisCPU()
    KernelObjects.board.pointee.firmware.stopThisCPU()
    fail("firmware does not stop a CPU")
  }
#endif
