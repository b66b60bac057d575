// kstacks run: a scenario with one strategy or all of them, its pictures, its table and its closing sentence.

import Figures
import Foundation
import ArgumentParser
import ImageTools

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run a scenario and show what it measured.")

  @Argument(help: "The scenario; `kstacks list` shows all.") var scenario = "fragmented-fork"
  @OptionGroup var arguments: ScenarioArguments
  @OptionGroup var replay: ReplayArguments
  @Option(help: "Where to write the results (default: build/SCENARIO.json).") var json: String?

  func run() async throws {
    let replay = try replay.replay(scenario: scenario, memory: arguments.memory)
    try await Self.run(scenario, arguments, json: json, replay: replay)
  }

  /// Runs a scenario with every strategy asked for, writes the results, and shows them.
  ///
  /// - Throws: the first failure, after the results that exist are written and shown.
  static func run(
    _ scenario: String, _ arguments: ScenarioArguments, json: String?, view: LiveView? = nil,
    replay: Replay? = nil
  ) async throws {
    let plans = try arguments.plans(scenario: scenario, replay: replay)
    let path = try json ?? ResultFile.defaultPath(scenario)
    try ResultFile.prepare(path)
    let onQemu = arguments.machine == .qemu
    if onQemu && !Guest.isQemuInstalled { throw CommandError("\(GuestError.qemuMissing)") }
    Terminal.line("\(scenario) on \(describeMachine(plans[0]))")
    if let replay {
      Terminal.line("with the memory of \(replay.file), line \(replay.plan.line): \(replay.plan.summary)")
    }
    let steps = Steps(total: plans.count + (onQemu ? 1 : 0), view: view)
    let kernel = onQemu ? try await buildKernel(for: arguments.cpu, steps: steps) : nil

    let memoryModel = await findMemoryModel(for: plans)
    let deviceTree = try await findDeviceTree(arguments)
    let runner = ScenarioRunner(
      steps: steps, verbose: arguments.verbose, memoryModel: memoryModel, deviceTree: deviceTree)
    var results: [JSON] = []
    var benchmarks: [JSON] = []
    var failure: CommandError?
    for (index, plan) in plans.enumerated() {
      let outcome = try await runner.run(plan, step: index + (onQemu ? 2 : 1), kernel: kernel)
      if let result = outcome.result {
        do throws(CommandError) {
          results.append(try replay?.completed(result) ?? result)
        } catch {
          results.append(result)
          failure = failure ?? error
        }
      }
      benchmarks += withFloors(outcome.benchmarks)
      failure = failure ?? outcome.failure
    }
    if !results.isEmpty || !benchmarks.isEmpty {
      try ResultFile.write(results.isEmpty ? benchmarks : results, to: path)
      let lines = reportLines(
        scenario: scenario, results: results, benchmarks: benchmarks, succeeded: failure == nil,
        inColour: Terminal.hasColour)
      for line in lines { Terminal.line(line) }
      Terminal.line("(results: \(ResultFile.displayed(path)))")
      if json == nil { showReport(besides: path) }
    }
    if let failure { throw failure }
  }

  /// The device tree of a board that QEMU has none for; `nil` for others.
  private static func findDeviceTree(_ arguments: ScenarioArguments) async throws -> String? {
    guard arguments.board == .raspberryPi3 else { return nil }
    if let given = arguments.deviceTree { return given }
    do { return try await RaspberryPiTree.path() } catch { throw CommandError("\(error)") }
  }

  /// The plugin that models caches and TLBs, if a plan is to be modelled; without one, a line says why.
  static func findMemoryModel(for plans: [RunPlan]) async -> String? {
    guard plans.contains(where: \.isModelled) else { return nil }
    do { return try await MemoryModelPlugin.shared.path() } catch {
      Terminal.line("(no cache lines and translations are counted: \(error))")
      return nil
    }
  }

  /// Updates the page of all results, and prints its path.
  ///
  /// A run's success does not depend on it.
  private static func showReport(besides path: String) {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    let page = "\(folder)/report.html"
    do {
      try ReportCommand.write(from: folder, to: page)
      Terminal.line("(report: \(ResultFile.displayed(page)))")
    } catch {
      Terminal.errorLine("kstacks: no report was made: \(error)")
    }
  }

  private static func describeMachine(_ plan: RunPlan) -> String {
    let memory = readable(byteCount: plan.options.memoryBytes)
    let processors =
      counted(plan.options.cpuCount, "CPU")
      + (plan.options.nodeCount > 1 ? ", \(plan.options.nodeCount) NUMA nodes" : "")
    switch plan.machine {
    case .qemu:
      let cpu =
        plan.accelerator == .tcg ? plan.cpu.rawValue : "this computer's CPUs, \(plan.accelerator.rawValue)"
      let what = plan.board == .virt ? cpu : plan.board.rawValue
      return "an arm64 kernel in QEMU (\(what), \(processors), \(memory))"
    case .simulated: return "the simulated machine (\(processors), \(memory))"
    }
  }
}
