// One run of a scenario with one strategy on one machine.

import Figures
import ImageTools
import Scenarios

/// One run, checked against the kernel's list of scenarios and options.
struct RunPlan: Sendable {
  /// The least memory of a run: it holds the kernel, its EL0 program and the device tree, with memory left to measure.
  static let leastMemoryByteCount = 16 << 20
  /// The most memory of the simulated machine: all memory that a run uses is the host's.
  static let mostSimulatedByteCount = 8 << 30
  /// The most memory that the kernel maps: RAM begins at 1 GiB on QEMU's board, and 39-bit addresses leave 255 GiB for it.
  static func mostMemoryByteCount(virtualAddressBits: Int) -> Int {
    virtualAddressBits == 39 ? 254 << 30 : 1 << 40
  }

  /// The options given, as words of a kernel command line.
  var words: [String]
  var options: ScenarioOptions
  var cpu: Guest.CPU
  /// The processor time that a guest may use without a line, in seconds.
  var silenceLimit: Int
  var machine: MachineChoice
  var board: Guest.Board
  var accelerator: Guest.Accelerator

  /// The number of lines that a guest may write: no step of a scenario writes more than one, and the rest is a few thousand.
  var lineLimit: Int { HangLimits().lines + options.operations + options.threadCount }

  /// Whether the plan is one of many, so that its seed is shown.
  var isOneOfMany = false
  var seedNote: String { isOneOfMany ? ", seed \(options.seed)" : "" }

  /// Whether the run must end in the report of a stall.
  var endsInStall: Bool { options.scenario == .pressure && options.breaksCondition }

  /// Whether a memory model can follow the run, which says so: measurements on one CPU.
  var isModelled: Bool {
    machine == .qemu && board == .virt && accelerator == .tcg && options.scenario.isModelled
      && options.cpuCount == 1
      && options.nodeCount == 1
  }

  var scenario: String { "\(options.scenario.name)" }
  var strategy: String { "\(options.strategy.name)" }

  /// Makes a plan; checks all options, also against the limits of the machine.
  init(
    _ words: [String], cpu: Guest.CPU, silenceLimit: Int, machine: MachineChoice, board: Guest.Board = .virt,
    accelerator: Guest.Accelerator = .tcg
  ) throws(CommandError) {
    self.words = words
    self.cpu = cpu
    self.silenceLimit = silenceLimit
    self.machine = machine
    self.board = board
    self.accelerator = accelerator
    options = try ScenarioCatalogue.options(words)
    for option in ScenarioOption.allCases
    where !options.scenario.uses(option) && words.contains(where: { $0.hasPrefix("\(option.name)=") }) {
      let users = ScenarioCatalogue.scenarios(using: option)
      throw CommandError(
        "\(options.scenario.name) does not use --\(option.name); \(listed(users)) \(users.count == 1 ? "does" : "do")"
      )
    }
    if machine == .simulated, options.scenario == .millionThreads {
      // A million threads would take hours on it.
      options.threadCount = options.givenThreadCount ?? 10_000
      options.memoryBytes = options.givenMemoryBytes ?? 128 << 20
    }

    if accelerator != .tcg { try useHostCPUs() }
    if board == .raspberryPi3 { try useRaspberryPi() }
    let memory = options.memoryBytes
    if memory < Self.leastMemoryByteCount {
      throw CommandError(
        "\(readable(byteCount: memory)) of memory is too little: the kernel needs at least "
          + "\(readable(byteCount: Self.leastMemoryByteCount)) (--memory \(Self.leastMemoryByteCount >> 20)M)"
      )
    }
    if machine == .simulated, memory > Self.mostSimulatedByteCount {
      throw CommandError(
        "\(readable(byteCount: memory)) of memory is too much: the simulated machine has at most "
          + readable(byteCount: Self.mostSimulatedByteCount))
    }
    let most = Self.mostMemoryByteCount(virtualAddressBits: options.virtualAddressBits)
    if memory > most {
      throw CommandError(
        "\(readable(byteCount: memory)) of memory is too much: with \(options.virtualAddressBits)-bit addresses the "
          + "kernel maps at most \(readable(byteCount: most))"
          + (options.virtualAddressBits == 39 ? " (1024 GiB with --va-bits 48)" : ""))
    }
    let size = options.stackSize
    if options.strategy == .linear && size & (size - 1) != 0 {
      throw CommandError(
        "linear stacks are blocks of 8 or 16 KiB, not \(readable(byteCount: size)): add --strategy vmalloc")
    }
    if options.scenario == .pressure && options.strategy != .growing {
      throw CommandError(
        "pressure is about growing stacks, not \(options.strategy.name) ones: --strategy growing")
    }
    if options.growth == .lent && machine == .qemu && cpu != .max {
      throw CommandError("pages are lent where CPUs set the access flag: --cpu max, or --machine simulated")
    }
    guard machine == .qemu else {
      if cpu != .cortexA72 {
        throw CommandError("--cpu chooses one of QEMU's CPUs: use it with --machine qemu")
      }
      return
    }
    if memory % (1 << 20) != 0 {
      throw CommandError("the memory of a machine in QEMU is a whole number of MiB")
    }
    if options.nodeCount > 2 {
      throw CommandError("the kernel in QEMU has 1 or 2 NUMA nodes, not \(options.nodeCount)")
    }
  }

  /// Checks that the host's CPUs can carry out a guest's instructions.
  private func useHostCPUs() throws(CommandError) {
    let name = accelerator.rawValue
    if machine == .simulated { throw CommandError("--accel is for QEMU: use it with --machine qemu") }
    if board != .virt { throw CommandError("\(name) runs the board virt, not \(board.rawValue)") }
    if cpu != .cortexA72 { throw CommandError("with \(name), the CPUs are those of the host: leave out --cpu") }
    if options.growth == .lent { throw CommandError("pages are lent with --cpu max only, not with \(name)") }
    guard Self.hostArchitecture == "arm64" else {
      throw CommandError("\(name) needs a host with arm64 CPUs; those of this one are \(Self.hostArchitecture)")
    }
  }

  private static var hostArchitecture: String {
    #if arch(arm64)
      "arm64"
    #elseif arch(x86_64)
      "x86_64"
    #else
      "of another architecture"
    #endif
  }

  /// Checks the options against what a Raspberry Pi 3 has.
  private mutating func useRaspberryPi() throws(CommandError) {
    let name = board.rawValue
    if machine == .simulated {
      throw CommandError("--board chooses one of QEMU's boards: use it with --machine qemu")
    }
    if cpu != .cortexA72 { throw CommandError("the CPUs of \(name) are what they are: leave out --cpu") }
    if options.cpuCount > 4 { throw CommandError("\(name) has 4 CPUs, not \(options.cpuCount)") }
    if options.nodeCount > 1 { throw CommandError("\(name) has one NUMA node, not \(options.nodeCount)") }
    let wanted = options.givenMemoryBytes ?? options.scenario.defaultMemoryBytes
    if options.givenMemoryBytes.map({ $0 != 1 << 30 }) ?? (wanted > 1 << 30) {
      throw CommandError("\(name) has 1 GiB of memory, not \(readable(byteCount: wanted))")
    }
    options.memoryBytes = 1 << 30
  }

  /// The advice after a hang, which follows the reason.
  func advice(on hang: Hang) -> String {
    if case .silent = hang { return "; --silence-limit gives it longer" }
    return ""
  }

  /// The kernel's command line; memory, CPUs and nodes are in the device tree.
  ///
  /// That of a Raspberry Pi always has four CPUs, of which the kernel is to use as many as asked.
  var kernelCommandLine: String {
    let kept = words.filter { word in !["memory=", "cpus=", "numa-nodes="].contains { word.hasPrefix($0) } }
    let ofBoard = board == .virt ? [] : ["cpus=\(options.cpuCount)"]
    return (kept + ofBoard + ticks + cycles).joined(separator: " ")
  }

  /// Cycles are counted by the CPUs of a host; an emulator has none.
  private var cycles: [String] {
    options.scenario == .bench && accelerator != .tcg ? ["cycles=yes"] : []
  }

  /// Fewer ticks for each of many CPUs whose instructions nobody counts: 1,000 a second of all together.
  ///
  /// They come in the host's time. On a busy host, a CPU's next tick would be due before it has executed anything since the last.
  private var ticks: [String] {
    let isTimed = options.scenario == .smpStorm && machine == .qemu && accelerator == .tcg
    return isTimed && options.cpuCount > 8 ? ["ticks=\(1000 / options.cpuCount)"] : []
  }
}
