// The tutorial as its reader follows it: sections, and the file that each step shows.

import Foundation
import ImageTools
import Testing

struct Tutorial {
  /// A step: the name of a file in the reader's package, and the file's text after the step.
  struct Step {
    var name: String
    var resource: String
    var text: String
  }
  /// The name of steps that show the kernel's output.
  static let console = "Console"

  var sections: [[Step]] = []
  static var catalogue: String { "\(PackageRoot.path ?? ".")/Sources/KernelStacks/KernelStacks.docc" }

  init() throws {
    let path = "\(Self.catalogue)/Tutorials/Stacks-for-your-own-kernel.tutorial"
    for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
      if line.contains("@Section(") { sections.append([]) }
      guard line.contains("@Code(") else { continue }
      let words = line.split(separator: "\"", omittingEmptySubsequences: false).map(String.init)
      try #require(words.count == 5, "\(line)")
      sections[sections.count - 1].append(
        Step(
          name: words[1], resource: words[3],
          text: try String(contentsOfFile: "\(Self.catalogue)/Resources/\(words[3])", encoding: .utf8)))
    }
  }

  /// The files of the reader's package when all sections are done.
  var finalFiles: [String: String] {
    var files: [String: String] = [:]
    for step in sections.joined() where step.name != Self.console { files[step.name] = step.text }
    return files
  }
}
