// What must hold whatever processes do: a scenario is run whose program is the input.
//
//   input:  | which stacks, which scenario | action | action | action | …
//
// An action is a system call with any registers, an access to any address, a switch to another process, or something that
// happens to the kernel meanwhile: a refused allocation, caches given back.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine
import SystemCallInterface
import UserPrograms

/// Runs a scenario whose processes do what an input says.
func judgeSystemCalls(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
  var input = InputReader(bytes)
  let choice = input.byte()
  let strategy: StackStrategy = [.vmalloc, .growing, .linear][Int(choice & 3) % 3]
  try SmallKernel.use(strategy) { (kernel) throws(Finding) in
    let guests = GuestProcesses(kernel, input)
    var options = ScenarioOptions()
    options.strategy = strategy
    options.scenario = scenarios[Int(choice >> 2 & 7)]
    options.stackDepths = choice & 32 != 0 ? .full : .typical
    _ = runScenario(options, in: kernel.processes.pointee, host: GuestHost(guests: guests))
    if let finding = guests.finding { throw finding }
  }
}

// The one that breaks memory into pieces first takes longest.
private let scenarios: [ScenarioName] = [
  .isolation, .recovery, .forkChurn, .isolation, .recovery, .forkChurn, .isolation, .fragmentedFork,
]

/// The surroundings of a scenario that runs guests.
private struct GuestHost: ScenarioHost {
  typealias Parts = HostedParts<Simulated>

  let guests: GuestProcesses

  var console: CollectedText { CollectedText() }
  var machineName: StaticString { "simulated" }
  var programImage: ProgramImage { GuestProgram.image }
  var userInvalidations: Int { 0 }
  var agingInvalidations: Int { 0 }
  var usableCPUs: Int { 1 }

  func run(
    _ first: TaskPointer, _ arguments: ProgramArguments, in processes: borrowing Processes<Parts>
  ) {
    guests.run(first)
  }

  func settle(_ processes: borrowing Processes<Parts>) { processes.settle() }

  // No scenario that is run has threads of the kernel, or needs several CPUs.
  func prepare(_ thread: KernelThreadPointer, in processes: borrowing Processes<Parts>) {}
  func prepareStorm(_ thread: KernelThreadPointer, in processes: borrowing Processes<Parts>) {}
  func bringOnline(_ number: Int, in processes: borrowing Processes<Parts>) -> Bool { false }
  func resume(_ thread: KernelThreadPointer, in processes: borrowing Processes<Parts>) {}
  func awaitThreads(in processes: borrowing Processes<Parts>) -> Bool { true }
  func letThreadsRun(in processes: borrowing Processes<Parts>) {}
  func runOnEachCPU(
    _ count: Int, in processes: borrowing Processes<Parts>, _ work: CPUWork<Parts>
  ) {}
}
