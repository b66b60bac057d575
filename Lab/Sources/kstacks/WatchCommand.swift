// kstacks watch: shows a scenario while it runs.

import ArgumentParser

struct WatchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch", abstract: "Run a scenario and watch memory and each CPU's caches while it does.")

  @Argument(help: "The scenario; `kstacks list` shows all.") var scenario = "fragmented-fork"
  @OptionGroup var arguments: ScenarioArguments
  @Option(help: "Where to write the results (default: build/SCENARIO.json).") var json: String?

  func run() async throws {
    guard Terminal.isInteractive else {
      throw CommandError(
        "watch draws on a terminal, and this is none; `kstacks run \(scenario)` writes lines")
    }
    let view = LiveView()
    defer { view.clear() }
    try await RunCommand.run(scenario, arguments, json: json, view: view)
  }
}
