// CPUs of a simulated kernel that stop while others continue, as firmware would stop them.

import KernelStacks
import SimulatedMachine

/// The CPUs that have stopped, or are about to stop, among those that run threads.
///
/// Only one CPU executes at a time.
final class SimulatedCPUs {
  private enum State {
    case online
    /// It is closed, and stops when it has nothing left.
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

  /// Closes a CPU, which stops when it comes to it.
  ///
  /// - Returns: whether it is closed now.
  func close(_ number: Int) -> Bool {
    guard states[number] == .online, scheduler.pointee.closeCPU(number) else { return false }
    states[number] = .stopping
    return true
  }

  /// Whether a CPU has stopped.
  func hasStopped(_ number: Int) -> Bool { states[number] == .offline }

  /// Whether a CPU takes part.
  func isOnline(_ number: Int) -> Bool { states[number] == .online }

  /// Requests the start of a CPU that has stopped; while nothing runs, it takes part again at once.
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

  /// Performs the steps of a CPU that is not online, in place of choosing a thread.
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
