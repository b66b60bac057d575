// kstacks claims: the figures of docs/claims.md, measured anew.

import ArgumentParser
import Figures
import Foundation
import ImageTools
import SimulatedScenarios

struct ClaimsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "claims", abstract: "Measure the figures of docs/claims.md and write them into the page.",
    discussion: """
      Runs the commands that the page names, all but `make linux`, whose last results it takes; a figure for which \
      there is no result stays as it is.
      """)

  @Option(help: "The page (default: docs/claims.md).") var page: String?
  @Option(help: "The folder with the results (default: build).") var results: String?
  @Flag(name: .customLong("no-runs"), help: "Take the results as they are and run nothing.")
  var takesResults =
    false
  @Flag(help: "Change nothing; fail where the page and the results disagree.") var check = false

  func run() async throws {
    let folder = try results ?? ReportCommand.defaultFolder()
    let path = try page ?? Self.defaultPage()
    var standing = try Self.read(path)
    if takesResults { try ReportCommand.requireFolder(folder) }
    if !takesResults {
      if !Guest.isQemuInstalled { throw CommandError("\(GuestError.qemuMissing)") }
      for source in ClaimSource.allCases where source.isRun {
        let outcome = try await Self.results(of: source)
        let file = "\(folder)/\(source.file)"
        try ResultFile.prepare(file)
        try ResultFile.write(outcome, to: file)
      }
    }
    var problems: [String] = []
    let found = ClaimResults(folder: folder, problems: &problems)
    for problem in problems { Terminal.line("(\(problem))") }
    Terminal.line("how many stacks the vmalloc area has room for …")
    let tables = found.tables(addressSpace: try StackAddressSpace())
    if check {
      let differences = standing.differences(from: tables) + Self.quotations(standing)
      for difference in differences { Terminal.line(difference) }
      if !differences.isEmpty { throw CommandError("\(counted(differences.count, "figure")) disagree") }
      let cells = tables.flatMap(\.rows).flatMap(\.cells)
      let unknown = cells.count { $0 == nil }
      Terminal.line(
        "the page and the results agree: \(counted(cells.count - unknown, "figure")) compared"
          + (unknown == 0 ? "" : ", \(grouped(unknown)) without a result"))
      return
    }
    standing.replace(tables)
    try ResultFile.write(text: standing.text, to: path)
    Terminal.line("figures: \(ResultFile.displayed(path))")
    for quotation in Self.quotations(standing) { Terminal.line(quotation) }
  }

  private static func defaultPage() throws(CommandError) -> String {
    guard let root = PackageRoot.path else {
      throw CommandError(
        "the package's folder was not found: run this inside a clone of KernelStacks, or use --page")
    }
    return "\(root)/docs/claims.md"
  }

  /// The results of a source's run, or the rows of a benchmark.
  static func results(of source: ClaimSource) async throws -> [JSON] {
    let plans = try source.plans()
    let steps = Steps(total: plans.count + 1)
    Terminal.line(source.command)
    let kernel = try await buildKernel(for: plans.first?.cpu ?? .cortexA72, steps: steps)
    let memoryModel = await RunCommand.findMemoryModel(for: plans)
    let runner = ScenarioRunner(steps: steps, verbose: false, memoryModel: memoryModel)
    var results: [JSON] = []
    for (index, plan) in plans.enumerated() {
      let outcome = try await runner.run(plan, step: index + 2, kernel: kernel)
      if let failure = outcome.failure { throw failure }
      if let result = outcome.result { results.append(result) }
      results += outcome.benchmarks
    }
    return results
  }

  private static func read(_ path: String) throws(CommandError) -> ClaimPage {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw CommandError("cannot read \(path)")
    }
    let page: ClaimPage
    do {
      page = try ClaimPage(text)
    } catch { throw CommandError("\(path): \(error.reason)") }
    if page.tableNames.isEmpty { throw CommandError("\(path) has no table of figures") }
    return page
  }

  private static func quotations(_ page: ClaimPage) -> [String] {
    page.unfoundedQuotations.map { "the prose quotes a figure that its table does not have: \($0)" }
  }
}
