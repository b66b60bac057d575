// kstacks bench: what each stack operation costs, in instructions.

#if Tools
  import ArgumentParser
  import ImageTools

  struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "bench", abstract: "Count the instructions of each stack operation.")

    @OptionGroup var arguments: ScenarioArguments
    @Option(help: "Where to write the results (default: build/bench.json).") var json: String?

    func run() async throws {
      let plans = try arguments.plans(scenario: "bench")
      let path = try json ?? ResultFile.defaultPath("bench")
      guard arguments.machine == .qemu else {
        throw CommandError("only the machine qemu can count instructions")
      }
      let steps = Steps(total: plans.count + 1)
      let kernel = try await buildKernel(steps: steps)
      let runner = ScenarioRunner(steps: steps, verbose: arguments.verbose)
      var benchmarks: [JSON] = []
      for (index, plan) in plans.enumerated() {
        benchmarks += try await runner.run(plan, step: index + 2, kernel: kernel).benchmarks
      }
      guard !benchmarks.isEmpty else { throw CommandError("the kernel measured nothing") }
      try ResultFile.write(benchmarks, to: path)
      Terminal.line()
      for line in benchmarkTable(benchmarks).lines { Terminal.line(line) }
      Terminal.line()
      Terminal.line("(results: \(ResultFile.displayed(path)))")
    }
  }
#endif
