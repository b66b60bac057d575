// kstacks list: the list of scenarios.

import ArgumentParser

struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the scenarios and what each does.")

  func run() {
    let width = ScenarioCatalogue.scenarios.map(\.name.count).max() ?? 0
    for scenario in ScenarioCatalogue.scenarios {
      let padding = String(repeating: " ", count: width - scenario.name.count)
      Terminal.line("\(scenario.name)\(padding)  \(scenario.summary)")
    }
  }
}
