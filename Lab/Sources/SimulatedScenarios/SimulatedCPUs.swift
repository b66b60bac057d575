// CPUs of a simulated kernel that go offline while others run.

import KernelStacks
import SimulatedMachine

/// The states of the CPUs that run threads.
///
/// Only one CPU executes at a time.
final class SimulatedCPUs {
  private enum State {
    case online
    /// Closed; it stops once nothing is left on it.
    case stopping
    case offline
    /// Its start has been requested.
    case starting
  }

  unowned var threads: SimulatedThreads!
  private var states: [State]

  init(count: Int) { states = Array(repeating: .online, count: count) }

  private var scheduler: UnsafeMutablePointer<ThreadScheduler<Simulated, NoSchedulerEvents>> {
    threads.scheduler
  }

  /// Closes a CPU, which stops once nothing is left on it.
  ///
  /// - Returns: whether it is closed now.
  func close(_ number: Int) -> Bool {
    guard states[number] == .online, scheduler.pointee.closeCPU(number) else { return false }
    states[number] = .stopping
    return true
  }

  /// Whether a CPU has stopped.
  func hasStopped(_ number: Int) -> Bool { states[number] == .offline }

  /// Whether a CPU runs threads.
  func isOnline(_ number: Int) -> Bool { states[number] == .online }

  /// Requests the start of a stopped CPU; while no CPU executes, it is online at once.
  ///
  /// - Returns: whether it had stopped.
  func start(_ number: Int) -> Bool {
    guard states[number] == .offline else { return false }
    states[number] = .starting
    if !threads.isRunning {
      threads.kernel.machine.simulation.onCPU(number) { _ in _ = goesOn(number, threads.kernel.machine) }
    }
    return true
  }

  /// Takes the next step of a CPU that is not online, in place of choosing a thread.
  ///
  /// - Returns: whether the CPU chooses no thread.
  func goesOn(_ number: Int, _ machine: Simulated) -> Bool {
    switch states[number] {
    case .online: return false
    case .stopping:
      let interrupts = machine.disableInterrupts()
      if scheduler.pointee.mayStop(number) { states[number] = .offline }
      machine.restoreInterrupts(interrupts)
      return states[number] == .offline
    case .offline:
      // The seed may switch to another CPU here.
      _ = machine.currentCPU
      return true
    case .starting:
      let interrupts = machine.disableInterrupts()
      let idle = threads.idle + number
      scheduler.pointee.startCPU(running: idle, idle: idle)
      states[number] = .online
      machine.restoreInterrupts(interrupts)
      return false
    }
  }
}
