// The runner of a plan: runs it on its machine and judges the result.

import Figures
import ImageTools
import SimulatedScenarios

/// The result of a run that has ended.
struct RunOutcome: Sendable {
  var result: JSON?
  var benchmarks: [JSON]
  /// The reason why a run that ended has failed: a check that did not hold, or a memory leak.
  var failure: CommandError?

  /// The exit code of a kernel that has panicked.
  private static let panicCode = 2

  /// Judges a run by its console.
  ///
  /// - Throws: the reason in one line, if the machine failed, an error was reported, or the run gave neither result nor
  ///   measurement.
  init(plan: RunPlan, exitCode: Int, lines: [String], records: [JSON]) throws(CommandError) {
    let what = "\(plan.scenario) with \(plan.strategy) stacks"
    func ofType(_ type: String) -> [JSON] { records.filter { $0["type"]?.string == type } }
    if plan.endsInStall {
      try Self.checkStall(
        plan, exitCode: exitCode, lines: lines, message: ofType("error").first?["message"]?.string)
      benchmarks = []
      result = .object([
        "scenario": .string(plan.scenario), "machine": .string(plan.machine.rawValue),
        "strategy": .string(plan.strategy), "seed": .integer(Int(truncatingIfNeeded: plan.options.seed)),
        "threads": .integer(plan.options.threadCount), "stallReported": .bool(true),
        "threadsWaiting": .integer(lines.count { $0.hasPrefix("  task ") && $0.contains(" waits for ") }),
      ])
      return
    }
    // Without a guard, an overflow must end the kernel, as the result says.
    let isPromisedPanic = ofType("result").last?["kernelEnd"]?.string == "panic"
    let promisedCode = isPromisedPanic && plan.machine == .qemu ? Self.panicCode : 0
    if isPromisedPanic, exitCode != promisedCode {
      throw CommandError("\(what) failed: the kernel went on after an overflow that nothing stopped")
    }
    if !isPromisedPanic, let message = ofType("error").first?["message"]?.string {
      throw CommandError("\(what) failed: \(message)")
    }
    let failed = ofType("check").filter { $0["passed"]?.bool != true }.map { $0["name"]?.string ?? "?" }
    if exitCode != promisedCode && failed.isEmpty {
      throw CommandError("\(what) failed with exit code \(exitCode)\(Self.lastWords(lines))")
    }
    let measured = Self.withMemory(records)
    result = measured.last { $0["type"]?.string == "result" }
    if plan.board != .virt { result = result?.adding("board", .string(plan.board.rawValue)) }
    let stacks = ofType("stack")
    if !stacks.isEmpty { result = result?.adding("stacks", .array(stacks.map { $0.removing(["type"]) })) }
    if let series = Self.series(of: ofType("progress")) { result = result?.adding("series", series) }
    benchmarks = measured.filter { $0["type"]?.string == "benchmark" }
    if plan.accelerator != .tcg {
      // Whose instructions and cycles these are.
      let name = JSON.string(plan.accelerator.rawValue)
      result = result?.adding("accelerator", name)
      benchmarks = benchmarks.map { $0.adding("accelerator", name) }
    }
    if !failed.isEmpty {
      let checks = failed.count == 1 ? "this check" : "these checks"
      failure = CommandError("\(what) failed: \(checks) did not hold: \(failed.joined(separator: "; "))")
    } else if let leaked = result?["leakedFrames"]?.integer, leaked != 0 {
      failure = CommandError("\(what) failed: \(counted(leaked, "frame")) leaked")
    } else if result == nil && benchmarks.isEmpty {
      throw CommandError("\(what) ended without a result")
    }
  }
}

extension RunOutcome {
  /// The last lines of a console that are plain text.
  static func lastWords(_ lines: [String]) -> String {
    lines.filter { !$0.isEmpty && !$0.hasPrefix("{") }.suffix(20).map { "\n  | \($0)" }.joined()
  }

  /// Checks that a run has ended in one report of a stall, with the waiting threads, and a panic.
  private static func checkStall(
    _ plan: RunPlan, exitCode: Int, lines: [String], message: String?
  ) throws(CommandError) {
    let what = "\(plan.scenario) with \(plan.strategy) stacks and a broken condition"
    let expected = "panic: no task can run, and no memory can be given back"
    guard message == expected else {
      throw CommandError("\(what) failed: \(message ?? "it did not end in a stall")")
    }
    let reports = lines.count { $0.hasPrefix("stall: ") }
    let panicCode = plan.machine == .qemu ? 2 : 1
    guard reports == 1, exitCode == panicCode else {
      throw CommandError("\(what) failed: \(reports) reports of a stall, exit code \(exitCode)")
    }
  }

  /// The rows of a benchmark and the results, each with what the memory model wrote before it as its member `memory`.
  static func withMemory(_ records: [JSON]) -> [JSON] {
    var measured: [JSON] = []
    var memory: JSON?
    for record in records {
      switch record["type"]?.string {
      case "memory": memory = record.removing(["type", "series"])
      case "benchmark", "result":
        measured.append(memory.map { record.adding("memory", $0) } ?? record)
        memory = nil
      default: break
      }
    }
    return measured
  }

  /// The free memory during a run, as a member of its result: `"series": ["64:62914560", …]`.
  ///
  /// At most 64 points, evenly spread.
  static func series(of progress: [JSON]) -> JSON? {
    let points = progress.compactMap { line -> String? in
      guard let done = line["done"]?.integer, let free = line["freeBytes"]?.integer else { return nil }
      return "\(done):\(free)"
    }
    if points.isEmpty { return nil }
    let step = (points.count + 63) / 64
    return .array(stride(from: 0, to: points.count, by: step).map { .string(points[$0]) })
  }
}

/// Runs plans, and shows their progress.
struct ScenarioRunner: Sendable {
  var steps: Steps
  var verbose: Bool
  /// The plugin that models caches and TLBs, if there is one.
  var memoryModel: String?
  /// The device tree of a board that QEMU has none for.
  var deviceTree: String?

  /// Runs one plan as step `number`.
  func run(_ plan: RunPlan, step number: Int, kernel: KernelProducts?) async throws -> RunOutcome {
    let what = "\(plan.scenario), \(plan.strategy) stacks\(plan.seedNote)"
    steps.begin(number, what)
    let show: @Sendable (String) -> Void = { [steps, verbose] line in
      if verbose { Terminal.line("  | \(line)") }
      guard steps.isInteractive, line.hasPrefix("{\"type\":\"progress\""),
        let record = try? JSON(parsing: line),
        let done = record["done"]?.integer
      else { return }
      if let view = steps.view {
        return view.draw(
          watchLines(
            "[\(number)/\(steps.total)] \(what)", record, memoryBytes: plan.options.memoryBytes,
            inColour: Terminal.hasColour))
      }
      steps.progress(
        number, what, done: done, total: record["total"]?.integer ?? 0, unit: record["what"]?.string ?? "")
    }
    let clock = ContinuousClock()
    let start = clock.now
    let outcome: RunOutcome
    do {
      switch plan.machine {
      case .qemu: outcome = try await runInQemu(plan, kernel: kernel, show: show)
      case .simulated: outcome = try await runSimulated(plan, show: show)
      }
    } catch {
      steps.abandon()
      throw error
    }
    let seconds = start.duration(to: clock.now) / .seconds(1)
    steps.end(number, what, summary(of: outcome) + " (\(tenths(seconds)) s)")
    return outcome
  }

  private func runInQemu(
    _ plan: RunPlan, kernel: KernelProducts?, show: @Sendable (String) -> Void
  ) async throws -> RunOutcome {
    guard let kernel else { throw CommandError("there is no kernel to boot") }
    var guest = Guest(
      kernel: kernel.image, initialRAMDisk: kernel.initProgram, commandLine: plan.kernelCommandLine)
    guest.memoryByteCount = plan.options.memoryBytes
    guest.cpuCount = plan.options.cpuCount
    guest.numaNodeCount = plan.options.nodeCount
    guest.cpu = plan.cpu
    guest.board = plan.board
    guest.accelerator = plan.accelerator
    guest.deviceTree = deviceTree
    // Races need CPUs that run at the same time.
    guest.countsInstructions = plan.options.scenario != .smpStorm
    guest.memoryModel = plan.isModelled ? memoryModel : nil
    guest.limits.silence = .seconds(plan.silenceLimit)
    guest.limits.lines = plan.lineLimit
    do {
      let run = try await guest.run(onLine: show)
      return try RunOutcome(plan: plan, exitCode: run.exitCode, lines: run.lines, records: run.records)
    } catch let error as GuestError {
      if case .hung(let hang, let lines) = error {
        throw CommandError(
          "\(plan.scenario) with \(plan.strategy) stacks \(hang)\(plan.advice(on: hang))"
            + RunOutcome.lastWords(lines))
      }
      throw CommandError("\(error)")
    }
  }

  private func runSimulated(_ plan: RunPlan, show: @Sendable (String) -> Void) async throws -> RunOutcome {
    var lines: [String] = []
    let passed: Bool
    do {
      passed = try withoutActuallyEscaping(show) { show in
        try SimulatedScenarios.runSimulated(plan.options) { line in
          lines.append(line)
          show(line)
        }
      }
    } catch {
      throw CommandError("\(plan.scenario) with \(plan.strategy) stacks failed: \(error)")
    }
    return try RunOutcome(
      plan: plan, exitCode: passed ? 0 : 1, lines: lines,
      records: lines.filter { $0.hasPrefix("{") }.compactMap { try? JSON(parsing: $0) })
  }

  private func summary(of outcome: RunOutcome) -> String {
    if outcome.failure != nil { return "failed" }
    if let forks = outcome.result?["forksSucceeded"]?.integer { return counted(forks, "fork") }
    if outcome.result?["stallReported"] != nil { return "stalled, as it was to" }
    if !outcome.benchmarks.isEmpty { return counted(outcome.benchmarks.count, "measurement") }
    return "every check held"
  }
}

private func tenths(_ seconds: Double) -> String {
  let value = Int(seconds * 10 + 0.5)
  return "\(value / 10).\(value % 10)"
}
