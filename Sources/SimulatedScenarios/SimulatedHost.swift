// The simulated machine as a scenario sees it.

import KernelStacks
import Scenarios
import SimulatedMachine
import UserPrograms

/// Runs processes as calls on the host, and threads of the kernel action by action.
struct SimulatedHost: ScenarioHost {
  let kernel: SimulatedKernel
  let threads: SimulatedThreads

  var console: LineConsole { kernel.console }

  var hasPanicked: Bool { kernel.hasPanicked }

  var machineName: StaticString { "simulated" }

  var programImage: ProgramImage { kernel.image }

  func run(_ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<Simulated>) {
    kernel.run(first, arguments)
  }

  func prepare(_ thread: KernelThreadPointer, in processes: borrowing Processes<Simulated>) {
    threads.prepare(thread)
  }

  func resume(_ thread: KernelThreadPointer, in processes: borrowing Processes<Simulated>) {
    threads.resume(thread)
  }

  func awaitThreads(in processes: borrowing Processes<Simulated>) { threads.run() }
}
