// Running a scenario in a test: its lines, read back as JSON.

import Foundation
import KernelStacks
import Scenarios
import SimulatedScenarios
import Testing

/// A scenario that has run on the simulated machine.
struct ScenarioRun {
  var passed: Bool
  var lines: [String]
  var objects: [[String: Any]]

  init(_ options: ScenarioOptions) throws {
    var lines: [String] = []
    passed = try runSimulated(options) { lines.append($0) }
    self.lines = lines
    objects = try lines.map { line in
      try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
    }
  }

  /// The one result.
  var result: [String: Any] {
    get throws {
      let results = objects.filter { $0["type"] as? String == "result" }
      #expect(results.count == 1)
      return try #require(results.first)
    }
  }

  /// The names of checks that did not hold.
  var failedChecks: [String] {
    objects.filter { $0["type"] as? String == "check" && $0["passed"] as? Bool != true }
      .map { $0["name"] as? String ?? "unnamed" }
  }

  /// The problems of the run, for a test's message.
  var problems: [String] {
    failedChecks + objects.filter { $0["type"] as? String == "error" }.map { $0["message"] as? String ?? "" }
  }
}

extension ScenarioOptions {
  /// Options for a small machine.
  static func small(_ scenario: ScenarioName, _ strategy: StackStrategy, seed: UInt64 = 1) -> Self {
    var options = ScenarioOptions()
    options.scenario = scenario
    options.strategy = strategy
    options.seed = seed
    options.memoryBytes = 4 << 20
    options.operations = 200
    return options
  }

  static func parsing(_ text: String) throws -> Self {
    var text = text
    return try text.withUTF8 { try Self(parsing: UnsafeRawBufferPointer($0)) }
  }
}
