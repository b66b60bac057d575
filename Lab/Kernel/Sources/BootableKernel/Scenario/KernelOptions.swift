// The command line: the options that all machines share, and the kernel's own.
#if hasFeature(Embedded)
  import CAArch64
  import KernelAssembly
  import KernelStacks
  import Scenarios

  /// What the kernel was told to do.
  struct KernelOptions {
    /// The options of the scenario.
    var scenario = ScenarioOptions()
    /// The self-test to run instead of a scenario.
    var selfTest: SelfTest?
    /// How many bits of an ASID are used: as many as the CPU has (TCR_EL1.AS), or fewer to have rollovers early.
    var identifierBits = mostIdentifierBits

    static var mostIdentifierBits: Int { ca_read_tcr_el1() & UInt64(TCR_LONG_ASIDS) != 0 ? 16 : 8 }

    /// Whether stacks are to be measured, without processes around them.
    var isBenchmark: Bool { scenario.scenario == .bench && selfTest == nil }

    /// How many groups of threads there can be: as many as are used.
    var stackGroups: Int {
      if scenario.strategy == .linear { return 0 }
      return isBenchmark ? 1 : selfTest == .groups ? 2 : 0
    }
  }

  /// Reads the command line; what is wrong with it ends the machine.
  func readOptions() -> KernelOptions {
    var options = KernelOptions()
    if let name = CommandLine.value(of: "scenario"), equal(name, "self-test") {
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
    do {
      options.scenario = try ScenarioOptions(parsing: CommandLine.text)
    } catch {
      fail("command line", error)
    }
    return options
  }
#endif
