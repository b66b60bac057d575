// The catalogue of scenarios and options: the kernel's own list, in the host's types.

import KernelStacks
import Scenarios

/// The scenarios and strategies that the kernel knows.
enum ScenarioCatalogue {
  /// The strategies in the order in which they are compared.
  static let strategies = [StackStrategy.linear, .vmalloc, .growing].map { "\($0.name)" }

  /// The strategies that a scenario compares; all for an unknown scenario.
  static func strategies(for scenario: String) -> [String] {
    let found = ScenarioName.allCases.first { "\($0.name)" == scenario }
    if found == .vmallocSuite { return ["\(StackStrategy.vmalloc.name)"] }
    return found?.isAboutGrowth == true ? ["\(StackStrategy.growing.name)"] : strategies
  }

  static let scenarios = ScenarioName.allCases.map { (name: "\($0.name)", summary: "\($0.summary)") }

  /// The names of the scenarios that an option affects.
  static func scenarios(using option: ScenarioOption) -> [String] {
    ScenarioName.allCases.filter { $0.uses(option) }.map { "\($0.name)" }.sorted()
  }

  /// Reads options as the kernel does.
  static func options(_ words: [String]) throws(CommandError) -> ScenarioOptions {
    var commandLine = words.joined(separator: " ")
    let result = commandLine.withUTF8 { bytes -> Result<ScenarioOptions, ScenarioOptionError> in
      Result { () throws(ScenarioOptionError) in try ScenarioOptions(parsing: UnsafeRawBufferPointer(bytes)) }
    }
    do { return try result.get() } catch { throw CommandError(error.description) }
  }
}
