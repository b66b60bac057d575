// CPUs of a simulated kernel that stop while others go on, as firmware would have them do.

import KernelStacks
import SimulatedMachine

/// Which of the CPUs that run threads have stopped, or are about to.
///
/// Only one CPU executes at a time.
final class SimulatedCPUs {
  private enum State {
    case online
    /// It is closed, and stops when it has nothing left.
    case stopping
    case offline
    /// It has been asked for.
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

  /// Asks for a CPU that has stopped; while nothing runs, it takes part again at once.
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

  /// What a CPU that is not online does instead of choosing a thread.
  ///
  /// - Returns: whether it does not choose one.
  func goesOn(_ number: Int, _ machine: Simulated) -> Bool {
    switch states[number] {
    case .online: return false
    case .stopping:
      let interrupts = machine.disableInterrupts()
      if scheduler.pointee.mayStop(number) { states[number] = .offline }
      machine.restoreInterrupts(interrupts)
      return states[number] == .offline
    case .offline:
      // A point of hand-over.
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
