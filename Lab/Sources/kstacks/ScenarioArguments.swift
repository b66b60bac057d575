// The options of a scenario on the command line; the kernel's own list defines their meaning.

import ArgumentParser
import Figures
import Foundation
import ImageTools
import Scenarios

enum MachineChoice: String, CaseIterable, ExpressibleByArgument { case qemu, simulated }

extension Guest.CPU: ExpressibleByArgument {}
extension Guest.Board: ExpressibleByArgument {}
extension Guest.Accelerator: ExpressibleByArgument {}

/// The options of a scenario's run.
struct ScenarioArguments: ParsableArguments {
  @Option(help: "The machine to run on: qemu or simulated.") var machine = MachineChoice.qemu
  @Option(
    parsing: .unconditional,
    help: "Where stacks come from: linear, vmalloc, growing, or all that the scenario is about in turn."
  )
  var strategy = "all"
  @Option(parsing: .unconditional, help: ArgumentHelp(Self.memoryHelp)) var memory: String?
  @Option(parsing: .unconditional, help: ArgumentHelp(Self.cpusHelp)) var cpus: String?
  @Option(
    name: .customLong("numa-nodes"), parsing: .unconditional,
    help: "How many NUMA nodes the memory is divided among; in QEMU 1 or 2. (default: 1)")
  var numaNodes: String?
  @Option(
    name: .customLong("va-bits"), parsing: .unconditional,
    help: "Bits of a kernel address: 39 or 48. (default: 39)")
  var virtualAddressBits: String?
  @Option(help: "QEMU's model of the CPU: cortex-a72 or max.") var cpu = Guest.CPU.cortexA72
  @Option(
    help:
      "What carries out the guest's instructions: tcg, which emulates; kvm or hvf, the CPUs of an arm64 host.")
  var accel = Guest.Accelerator.tcg
  @Option(help: "QEMU's board: virt, or raspi3b, a Raspberry Pi 3 B with 1 GiB.") var board = Guest.Board.virt
  @Option(
    name: .customLong("device-tree"),
    help: "raspi3b: the board's device tree. (default: made of Linux's sources, as Debian packages them)")
  var deviceTree: String?
  @Option(parsing: .unconditional, help: "The seed of all random decisions. (default: 1)") var seed: String?
  @Option(
    name: .customLong("stack-size"), parsing: .unconditional,
    help: "The size of a stack: 8K to 24K in steps of 4K; linear ones 8K or 16K. (default: 16K)")
  var stackSize: String?
  @Option(
    name: .customLong("largest-free-order"), parsing: .unconditional,
    help: "fragmented-fork: the largest order left free, 0 or 1. (default: 1)")
  var largestFreeOrder: String?
  @Option(
    name: .customLong("free-share"), parsing: .unconditional,
    help: "fragmented-fork: how much memory stays free, in percent. (default: 50)")
  var freeShare: String?
  @Option(
    name: .customLong("free-blocks"), parsing: .unconditional,
    help:
      "fragmented-fork: how many blocks of each order stay free, 11 numbers with commas, in place of a share."
  )
  var freeBlocks: String?
  @Option(
    name: .customLong("usable-blocks"), parsing: .unconditional,
    help: "fragmented-fork: how many of the free blocks a request of the kernel may take. (default: all)")
  var usableBlocks: String?
  @Option(
    parsing: .unconditional,
    help: """
      How deep children go into growing stacks: typical (97 of 100 within 4 KiB) or full. \
      (default: typical)
      """)
  var depths: String?
  @Option(
    parsing: .unconditional,
    help: """
      How growing stacks get their pages: fault, or lent at each switch (--strategy growing, with --cpu max \
      or --machine simulated). \
      (default: fault)
      """)
  var growth: String?
  @Option(
    parsing: .unconditional,
    help: """
      fork-churn: how many forks and exits; forks-at-once: how many forks; smp-storm: how many operations; vmalloc-suite: how many rounds of each \
      workload on each CPU. (default: 1000)
      """) var operations: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      ScenarioCatalogue.scenarios(using: .threads).joined(separator: ", ")
        + ": how many threads of the kernel."))
  var threads: String?
  @Flag(
    name: .customLong("break-condition"),
    help:
      "pressure: take so much memory that threads cannot go on; the run is to end in the report of a stall.")
  var breakCondition = false
  @Option(
    parsing: .unconditional, help: "How many seeds to run, one after the other, from the seed given on.")
  var seeds = 1
  @Option(
    name: .customLong("silence-limit"), parsing: .unconditional,
    help:
      "How many seconds of processor time QEMU may use without a line from the kernel before it is stopped as hung."
  )
  var silenceLimit = 300
  @Flag(help: "Show every line of the kernel's console.") var verbose = false

  private static var memoryHelp: String {
    let others = ScenarioName.allCases.filter { $0.defaultMemoryBytes != ScenarioOptions().memoryBytes }.map {
      "\($0.name): \(readable(byteCount: $0.defaultMemoryBytes))"
    }
    return
      "The size of the machine's memory, 16M to 254G, to 1024G with --va-bits 48; the host needs what is touched of it. (default: 128M; \(others.joined(separator: ", ")))"
  }

  private static var cpusHelp: String {
    let others = ScenarioName.allCases.filter { $0.defaultCPUCount != 1 }.map {
      "\($0.name): \($0.defaultCPUCount)"
    }
    return "How many CPUs the machine has, 1 to 64. (default: 1; \(others.joined(separator: ", ")))"
  }

  /// The options given, as words of a kernel command line.
  func words(
    scenario: String, strategy: String, seed: String?, replay: Replay? = nil
  ) throws(CommandError) -> [String] {
    let given: [(String, String?)] = [
      ("scenario", scenario), ("strategy", strategy), ("seed", seed), ("memory", memory), ("cpus", cpus),
      ("numa-nodes", numaNodes), ("va-bits", virtualAddressBits), ("stack-size", stackSize),
      ("largest-free-order", largestFreeOrder), ("free-share", freeShare), ("free-blocks", freeBlocks),
      ("usable-blocks", usableBlocks), ("depths", depths), ("growth", growth),
      ("operations", operations), ("threads", threads),
      ("break-condition", breakCondition ? "yes" : nil),
    ]
    var words: [String] = []
    for (key, value) in given {
      guard let value else { continue }
      if value.isEmpty || value.contains(where: { $0.isWhitespace || $0 == "=" }) {
        throw CommandError("`\(value)` is no value for \(key)")
      }
      words.append("\(key)=\(value)")
    }
    if let replay {
      if freeBlocks != nil || usableBlocks != nil {
        throw CommandError("--from-report says itself which blocks are free")
      }
      words += replay.words(givenMemory: memory != nil, givenStackSize: stackSize != nil)
    }
    return words
  }

  /// The strategies asked for.
  func strategies(for scenario: String) -> [String] {
    strategy == "all" ? ScenarioCatalogue.strategies(for: scenario) : [strategy]
  }

  /// One run for each strategy, all options checked.
  func plans(scenario: String, replay: Replay? = nil) throws(CommandError) -> [RunPlan] {
    guard silenceLimit > 0 else { throw CommandError("the silence limit is a number of seconds above 0") }
    if deviceTree != nil, board == .virt {
      throw CommandError("QEMU makes the device tree of virt: --device-tree goes with --board raspi3b")
    }
    if let deviceTree, !FileManager.default.isReadableFile(atPath: deviceTree) {
      throw CommandError("cannot read \(deviceTree)")
    }
    guard seeds > 0 else { throw CommandError("the number of seeds is 1 or more") }
    guard strategy == "all" || ScenarioCatalogue.strategies.contains(strategy) else {
      throw CommandError(
        "strategy cannot be \(strategy); it takes \(ScenarioCatalogue.strategies.joined(separator: ", ")) or all"
      )
    }
    if seeds > 1 && scenario == "bench" { throw CommandError("bench takes one seed, not \(seeds)") }
    var plans: [RunPlan] = []
    for strategy in strategies(for: scenario) {
      let first = try plan(scenario, strategy, seed: seed, replay)
      plans.append(first)
      for number in 1..<max(1, UInt64(seeds)) {
        plans.append(try plan(scenario, strategy, seed: "\(first.options.seed &+ number)", replay))
      }
    }
    return plans
  }

  private func plan(
    _ scenario: String, _ strategy: String, seed: String?, _ replay: Replay?
  ) throws(CommandError) -> RunPlan {
    var plan = try RunPlan(
      words(scenario: scenario, strategy: strategy, seed: seed, replay: replay), cpu: cpu,
      silenceLimit: silenceLimit,
      machine: machine, board: board, accelerator: accel)
    plan.isOneOfMany = seeds > 1
    return plan
  }
}
