// The options of the command line: those that all machines share, and the kernel's own.
import ByteText
import CAArch64
import KernelAssembly
import KernelStacks
import Scenarios

/// The options of a run.
struct KernelOptions {
  /// The options of the scenario.
  var scenario = ScenarioOptions()
  /// The self-test to run in place of a scenario.
  var selfTest: SelfTest?
  /// The number of ASID bits in use: those of the CPU (TCR_EL1.AS), or fewer for early rollovers.
  var identifierBits = mostIdentifierBits

  /// Ticks of each CPU per second.
  var ticksPerSecond = TickTimer.defaultFrequency

  /// Whether benchmarks count cycles, too: those of a CPU, not of an emulator.
  var countsCycles = false

  /// The most CPUs to run, if the command line says so: others stay as they are.
  var cpuLimit: Int?

  static var mostIdentifierBits: Int { ca_read_tcr_el1() & UInt64(TCR_LONG_ASIDS) != 0 ? 16 : 8 }

  /// Whether stacks are measured, without processes.
  var isBenchmark: Bool { scenario.scenario == .bench && selfTest == nil }

  /// The number of stack groups that can exist: as many as the run uses.
  var stackGroups: Int {
    if scenario.strategy == .linear { return 0 }
    return isBenchmark ? 1 : selfTest?.stackGroups ?? 0
  }
}

/// Reads the command line; ends the machine if it is invalid.
func readOptions() -> KernelOptions {
  var options = KernelOptions()
  if let name = CommandLine.value(of: "scenario"), case "self-test" = name {
    guard let test = CommandLine.value(of: "test") else { fail("scenario=self-test needs test=NAME") }
    guard let selfTest = SelfTest(named: test) else { fail("there is no such self-test") }
    options.selfTest = selfTest
    CommandLine.remove("scenario")
    readFaultTestArguments()
    CommandLine.remove("test")
  }
  if let text = CommandLine.value(of: "asid-bits") {
    guard let bits = ScenarioOptions.number(text), bits >= 5, bits <= UInt64(KernelOptions.mostIdentifierBits)
    else { fail("asid-bits is a number from 5 to what the CPU has") }
    options.identifierBits = Int(bits)
    CommandLine.remove("asid-bits")
  }
  if let text = CommandLine.value(of: "cycles") {
    switch text {
    case "yes": options.countsCycles = true
    case "no": break
    default: fail("cycles is yes or no")
    }
    CommandLine.remove("cycles")
  }
  if let text = CommandLine.value(of: "ticks") {
    guard let count = ScenarioOptions.number(text), (10...10_000).contains(count) else {
      fail("ticks is a number from 10 to 10000")
    }
    options.ticksPerSecond = Int(count)
    CommandLine.remove("ticks")
  }
  do {
    options.scenario = try ScenarioOptions(parsing: CommandLine.text)
  } catch {
    fail("command line", error)
  }
  if CommandLine.value(of: "cpus") != nil { options.cpuLimit = options.scenario.cpuCount }
  return options
}
