// kstacks bench: the cost of each stack operation, in instructions.

import ArgumentParser
import Foundation
import ImageTools

struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Count the instructions of each stack operation.")

  @OptionGroup var arguments: ScenarioArguments
  @Option(help: "Where to write the results (default: build/bench.json).") var json: String?
  @Option(help: "A page of Markdown whose table of costs is to be written anew.") var page: String?
  @Option(
    help:
      "Times of this computer, from Scripts/bench-host: write the page's table of them, and count nothing.")
  var times: String?

  func validate() throws {
    if times != nil, page == nil { throw ValidationError("--times needs --page, where its table is") }
    if times != nil, json != nil { throw ValidationError("--times counts nothing that --json could get") }
  }

  func run() async throws {
    if let page, let times {
      let rows = try JSON(parsing: try Self.contents(times)).array ?? []
      return try Self.write("host", try BenchmarkPage.host(rows), to: page)
    }
    guard arguments.machine == .qemu else {
      throw CommandError("only the machine qemu can count instructions")
    }
    // A page without a table fails before the run, not after it.
    if let page { _ = try Self.replacing("costs", in: page, with: BenchmarkPage.costs([])) }
    try await RunCommand.run("bench", arguments, json: json)
    guard let page else { return }
    let results = try JSON(parsing: try Self.contents(json ?? ResultFile.defaultPath("bench")))
    try Self.write("costs", BenchmarkPage.costs(results.array ?? []), to: page)
  }

  private static func replacing(_ name: String, in path: String, with table: TextTable) throws -> String {
    try BenchmarkPage.replacing(name, in: try contents(path), with: table)
  }

  private static func write(_ name: String, _ table: TextTable, to path: String) throws {
    try ResultFile.write(text: try replacing(name, in: path, with: table), to: path)
    Terminal.line("(table: \(ResultFile.displayed(path)))")
  }

  private static func contents(_ path: String) throws(CommandError) -> String {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw CommandError("cannot read \(path)")
    }
    return String(decoding: data, as: UTF8.self)
  }
}
