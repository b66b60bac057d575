// The options of a replay: a report's free memory becomes the machine's.

import ArgumentParser
import FailureReports
import ImageTools

/// Which report is replayed.
struct ReplayArguments: ParsableArguments {
  @Option(
    name: .customLong("from-report"),
    help: "fragmented-fork: a kernel's log whose free memory the machine gets, block by block.")
  var fromReport: String?
  @Option(help: "Which of the log's failures, from 1. (default: 1)") var failure: Int?
  @Option(help: "Which zone's free blocks. (default: those of the zone that decided)") var zone: String?

  /// The most memory that a machine gets for a report; larger ones are scaled down.
  private static let greatestMemory: UInt64 = 1 << 30

  /// The replay that was asked for; `nil` if none was.
  ///
  /// - Parameter memory: the machine's memory, if it was given.
  func replay(scenario: String, memory: String?) throws(CommandError) -> Replay? {
    guard let file = fromReport else {
      if failure != nil || zone != nil {
        throw CommandError("--failure and --zone choose from --from-report FILE")
      }
      return nil
    }
    guard scenario == "fragmented-fork" else {
      throw CommandError("\(scenario) does not use --from-report; fragmented-fork does")
    }
    let number = failure ?? 1
    guard number > 0 else { throw CommandError("failures are counted from 1") }
    var most = Self.greatestMemory
    if let memory { most = UInt64(try ScenarioCatalogue.options(["memory=\(memory)"]).memoryBytes) }
    let report: FileReport
    do { report = try LineReader.examine(path: file) } catch { throw CommandError("\(file) \(error)") }
    do {
      return Replay(
        file: file, plan: try ReplayPlan(report, failure: number, zone: zone, greatestMemory: most))
    } catch { throw CommandError("\(file) cannot be replayed: \(error)") }
  }
}

/// A report whose free memory is the machine's.
struct Replay: Sendable {
  var file: String
  var plan: ReplayPlan

  /// What the kernel is told; a stack has the size that the report tells, unless another was given.
  func words(givenMemory: Bool, givenStackSize: Bool) -> [String] {
    var words = plan.words
    if !givenMemory { words.append("memory=\(plan.memoryBytes >> 20)M") }
    if !givenStackSize, let size = plan.stackBytes, size == 8192 || size == 16384 {
      words.append("stack-size=\(size)")
    }
    return words
  }

  /// A result with what it is about, if its free blocks were those of the report.
  func completed(_ result: JSON) throws(CommandError) -> JSON {
    let blocks = result["freeBlocks"]?.array?.map { $0.integer ?? -1 } ?? []
    guard blocks == plan.freeBlocks.map({ Int($0) }) else {
      throw CommandError(
        "the machine's free blocks (\(blocks.map(String.init).joined(separator: ", "))) are not those of the report ("
          + plan.freeBlocks.map(String.init).joined(separator: ", ") + ")")
    }
    var report: [String: JSON] = [
      "file": .string(file), "line": .integer(plan.line), "zone": .string(plan.zone),
      "factor": .integer(Int(plan.factor)), "summary": .string(plan.summary),
    ]
    if let process = plan.process { report["process"] = .string(process) }
    if let node = plan.node { report["node"] = .integer(node) }
    return result.adding("report", .object(report))
  }
}
