// The CPUs, their interrupts and their counters.

import KernelMachine

extension Simulation {
  func currentCPU() -> Int {
    step()
    record(.currentCPU)
    return running
  }

  func relax() {
    step()
    record(.relax)
    runner?.letOthersRun()
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

  /// Whether a tick could take the thread off a CPU.
  func isPreemptible(_ cpu: Int) -> Bool { cpus[cpu].interruptsEnabled && cpus[cpu].heldLocks.isEmpty }

  /// Exchanges the threads of two CPUs, with their address spaces.
  func exchangeThreads(_ cpu: Int, _ other: Int) {
    hash.mix(UInt64(cpu) << 8 | UInt64(other))
    for number in [cpu, other] {
      switch configuration.migration {
      case .none: break
      case .completing: translations.complete(by: number)
      case .publishingOnly: translations.publish(by: number)
      }
    }
    let space = cpus[cpu].userSpace
    cpus[cpu].userSpace = cpus[other].userSpace
    cpus[other].userSpace = space
    collectFindings()
  }

  /// Whether interrupts of the current CPU are on.
  public var interruptsEnabled: Bool { cpus[running].interruptsEnabled }
}
