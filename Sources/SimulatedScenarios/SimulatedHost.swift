// The simulated machine as a scenario sees it.

import KernelStacks
import Scenarios
import SimulatedMachine
import UserPrograms

/// Runs processes as calls on the host.
struct SimulatedHost: ScenarioHost {
  let kernel: SimulatedKernel

  var console: LineConsole { kernel.console }

  var machineName: StaticString { "simulated" }

  var programImage: ProgramImage { kernel.image }

  func run(_ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<Simulated>) {
    kernel.run(first, arguments)
  }
}
