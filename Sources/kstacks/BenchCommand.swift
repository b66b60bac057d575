// kstacks bench: what each stack operation costs, in instructions.

#if Tools
  import ArgumentParser

  struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "bench", abstract: "Count the instructions of each stack operation.")

    @OptionGroup var arguments: ScenarioArguments
    @Option(help: "Where to write the results (default: build/bench.json).") var json: String?

    func run() async throws {
      guard arguments.machine == .qemu else {
        throw CommandError("only the machine qemu can count instructions")
      }
      try await RunCommand.run("bench", arguments, json: json)
    }
  }
#endif
