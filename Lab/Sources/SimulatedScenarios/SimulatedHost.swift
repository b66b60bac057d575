// The simulated machine as a host of scenarios.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine
import UserPrograms

/// Runs processes as calls on the host, and kernel threads action by action.
struct SimulatedHost: ScenarioHost {
  let kernel: SimulatedKernel
  let threads: SimulatedThreads

  var console: LineConsole { kernel.console }

  var hasPanicked: Bool { kernel.hasPanicked }

  var machineName: StaticString { "simulated" }

  var userInvalidations: Int { kernel.machine.simulation.userInvalidations }

  var pagesKeptUntouched: Int? { kernel.machine.simulation.untouchedPagesKept }

  // There is no clock.
  var agingInvalidations: Int { 0 }

  var programImage: ProgramImage { kernel.image }

  func run(
    _ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<SimulatedParts>
  ) {
    kernel.run(first, arguments)
  }

  func prepare(_ thread: KernelThreadPointer, in processes: borrowing Processes<SimulatedParts>) {
    threads.prepare(thread)
  }

  func prepareStorm(_ thread: KernelThreadPointer, in processes: borrowing Processes<SimulatedParts>) {
    threads.prepareStorm(thread)
  }

  func runBesideThreads(
    _ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<SimulatedParts>
  ) {
    threads.run { kernel.run(first, arguments) }
  }

  func bringOnline(_ number: Int, in processes: borrowing Processes<SimulatedParts>) -> Bool {
    threads.cpus.start(number)
  }

  func resume(_ thread: KernelThreadPointer, in processes: borrowing Processes<SimulatedParts>) {
    threads.resume(thread)
  }

  func awaitThreads(in processes: borrowing Processes<SimulatedParts>) -> Bool {
    threads.run()
    return !threads.hasStalled
  }

  func letThreadsRun(in processes: borrowing Processes<SimulatedParts>) { threads.run(slices: 8) }

  func settle(_ processes: borrowing Processes<SimulatedParts>) {
    for cpu in 0..<kernel.machine.cpuCount {
      kernel.machine.simulation.onCPU(cpu) { _ in processes.settle() }
    }
  }

  var usableCPUs: Int { kernel.machine.cpuCount }

  func runOnEachCPU(
    _ count: Int, in processes: borrowing Processes<SimulatedParts>, _ work: CPUWork<SimulatedParts>
  ) {
    let kernel = kernel
    let bodies = (0..<count).map { cpu in
      { (_: Simulated) in work.carryOut(cpu, in: kernel.processes.pointee) }
    }
    do {
      try kernel.machine.simulation.run(bodies)
    } catch {
      preconditionFailure("\(error)")
    }
  }
}
