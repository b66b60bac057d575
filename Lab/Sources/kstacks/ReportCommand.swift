// kstacks report: one page, and pictures, of the last runs' results.

import ArgumentParser
import Figures
import Foundation
import ImageTools

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Make a page of the results in build/, and its pictures as SVG files.")

  @Option(help: "The folder with the results (default: build).") var results: String?
  @Option(help: "Where to write the page (default: report.html in that folder).") var output: String?
  @Option(help: "Where to write the pictures (default: the folder figures beside the page).") var figures:
    String?

  func run() throws {
    let folder = try results ?? Self.defaultFolder()
    try Self.requireFolder(folder)
    let page = output ?? "\(folder)/report.html"
    let set = try Self.write(from: folder, to: page, figures: figures)
    for problem in set.problems { Terminal.line("(\(problem))") }
    Terminal.line("report: \(ResultFile.displayed(page))")
  }

  /// Checks that the folder of results exists.
  static func requireFolder(_ path: String) throws(CommandError) {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
      throw CommandError("there is no folder \(path): `make run` writes results into build")
    }
  }

  static func defaultFolder() throws(CommandError) -> String {
    guard let root = PackageRoot.path else {
      throw CommandError(
        "the package's folder was not found: run this inside a clone of KernelStacks, or use --results")
    }
    return "\(root)/build"
  }

  /// Writes the page and its pictures from the results in a folder.
  ///
  /// - Returns: the results, with remarks about files that could not be used.
  @discardableResult
  static func write(from folder: String, to page: String, figures: String? = nil) throws -> ResultSet {
    let set = ResultSet(folder: folder)
    let report = ReportPage(set)
    let html = try report.html()
    let pictures =
      figures ?? URL(fileURLWithPath: page).deletingLastPathComponent().appendingPathComponent("figures").path
    try ResultFile.prepare(page)
    try ResultFile.write(text: html, to: page)
    for (name, text) in report.files {
      try ResultFile.prepare("\(pictures)/\(name)")
      try ResultFile.write(text: text, to: "\(pictures)/\(name)")
    }
    return set
  }
}
