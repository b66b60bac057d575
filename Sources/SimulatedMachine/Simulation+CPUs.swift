// CPUs, interrupts and counters.

import KernelMachine

extension Simulation {
  func currentCPU() -> Int {
    step()
    record(.currentCPU)
    return running
  }

  func currentNode() -> NodeID {
    step()
    record(.currentNode)
    return nodes[running]
  }

  func counters() -> MachineCounters {
    step()
    record(.counters)
    return counted
  }

  func disableInterrupts() -> InterruptState {
    step()
    let before = cpus[running].interruptsEnabled
    record(.disableInterrupts, before ? 1 : 0)
    cpus[running].interruptsEnabled = false
    return InterruptState(rawValue: before ? 1 : 0)
  }

  func restoreInterrupts(_ state: InterruptState) {
    step()
    record(.restoreInterrupts, UInt64(state.rawValue))
    setInterrupts(state)
  }

  func setInterrupts(_ state: InterruptState) {
    if state.rawValue != 0, !cpus[running].heldLocks.isEmpty {
      report(
        .interruptsEnabledWhileLocked,
        "interrupts were enabled while \(cpus[running].heldLocks.map(lockName).joined(separator: ", ")) is held"
      )
    }
    cpus[running].interruptsEnabled = state.rawValue != 0
  }

  /// Whether interrupts are on at the current CPU.
  public var interruptsEnabled: Bool { cpus[running].interruptsEnabled }
}
