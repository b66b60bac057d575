// kstacks run: a scenario with one strategy or all of them, its pictures, its table and its closing sentence.

#if Tools
  import ArgumentParser
  import ImageTools

  struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "run", abstract: "Run a scenario and show what it measured.")

    @Argument(help: "The scenario; `kstacks list` shows all.") var scenario = "fragmented-fork"
    @OptionGroup var arguments: ScenarioArguments
    @Option(help: "Where to write the results (default: build/SCENARIO.json).") var json: String?

    func run() async throws {
      let plans = try arguments.plans(scenario: scenario)
      let path = try json ?? ResultFile.defaultPath(scenario)
      Terminal.line("\(scenario) on \(describeMachine(plans[0]))")
      let onQemu = arguments.machine == .qemu
      let steps = Steps(total: plans.count + (onQemu ? 1 : 0))
      let kernel = onQemu ? try await buildKernel(steps: steps) : nil

      let runner = ScenarioRunner(steps: steps, verbose: arguments.verbose)
      var results: [JSON] = []
      var benchmarks: [JSON] = []
      for (index, plan) in plans.enumerated() {
        let outcome = try await runner.run(plan, step: index + (onQemu ? 2 : 1), kernel: kernel)
        if let result = outcome.result { results.append(result) }
        benchmarks += outcome.benchmarks
      }
      try ResultFile.write(results.isEmpty ? benchmarks : results, to: path)
      report(results: results, benchmarks: benchmarks)
      Terminal.line("(results: \(ResultFile.displayed(path)))")
    }

    private func describeMachine(_ plan: RunPlan) -> String {
      let memory = readable(byteCount: plan.options.memoryBytes)
      let processors =
        counted(plan.options.cpuCount, "CPU")
        + (plan.options.nodeCount > 1 ? ", \(plan.options.nodeCount) NUMA nodes" : "")
      switch plan.machine {
      case .qemu: return "an arm64 kernel in QEMU (\(plan.cpu.rawValue), \(processors), \(memory))"
      case .simulated: return "the simulated machine (\(processors), \(memory))"
      }
    }

    private func report(results: [JSON], benchmarks: [JSON]) {
      for line in pictureLines(results, inColour: Terminal.hasColour) { Terminal.line(line) }
      Terminal.line()
      if !results.isEmpty {
        for line in resultTable(results).lines { Terminal.line(line) }
        for line in refusalLines(results) { Terminal.line(line) }
      }
      if !benchmarks.isEmpty { for line in benchmarkTable(benchmarks).lines { Terminal.line(line) } }
      Terminal.line()
      if !results.isEmpty { Terminal.line(closingSentence(scenario: scenario, results: results)) }
    }
  }
#endif
