// kstacks bench: the cost of each stack operation, in instructions.

#if Tools
  import ArgumentParser
  import Foundation
  import ImageTools

  struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "bench", abstract: "Count the instructions of each stack operation.")

    @OptionGroup var arguments: ScenarioArguments
    @Option(help: "Where to write the results (default: build/bench.json).") var json: String?
    @Option(help: "A page of Markdown whose table of costs is to be written anew.") var page: String?

    func run() async throws {
      guard arguments.machine == .qemu else {
        throw CommandError("only the machine qemu can count instructions")
      }
      // A page without a table fails before the run, not after it.
      if let page { _ = try BenchmarkPage.replacingTable(in: try Self.contents(page), with: []) }
      try await RunCommand.run("bench", arguments, json: json)
      guard let page else { return }
      let results = try JSON(parsing: try Self.contents(json ?? ResultFile.defaultPath("bench")))
      let text = try BenchmarkPage.replacingTable(in: try Self.contents(page), with: results.array ?? [])
      try ResultFile.write(text: text, to: page)
      Terminal.line("(table: \(ResultFile.displayed(page)))")
    }

    private static func contents(_ path: String) throws(CommandError) -> String {
      guard let data = FileManager.default.contents(atPath: path) else {
        throw CommandError("cannot read \(path)")
      }
      return String(decoding: data, as: UTF8.self)
    }
  }
#endif
