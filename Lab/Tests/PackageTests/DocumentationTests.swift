// The pages of the documentation: their links lead to files and headings, and each page is short and names who acts.

import Foundation
import ImageTools
import Testing

@Suite struct DocumentationTests {
  static let root = PackageRoot.path ?? "."

  /// The paths of the README and of all pages in `docs`, from the repository's folder on.
  static var pages: [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/docs")) ?? []
    return ["README.md"] + names.filter { $0.hasSuffix(".md") }.map { "docs/\($0)" }.sorted()
  }

  static func text(_ page: String) throws -> String {
    try String(contentsOfFile: "\(root)/\(page)", encoding: .utf8)
  }

  /// The anchors of a page's headings, as GitHub forms them.
  static func anchors(_ text: String) -> Set<String> {
    Set(
      text.split(separator: "\n").filter { $0.hasPrefix("#") }.map { line in
        let heading = line.drop { $0 == "#" }.drop { $0 == " " }.lowercased()
        return String(
          heading.compactMap { $0.isLetter || $0.isNumber || "-_".contains($0) ? $0 : $0 == " " ? "-" : nil })
      })
  }

  /// The words of a page's prose: without tables, drawings, code and link targets.
  static func proseWordCount(_ text: String) -> Int {
    var isCode = false
    var count = 0
    for line in text.split(separator: "\n") {
      if line.hasPrefix("```") { isCode.toggle() }
      if isCode || ["|", "    ", "<!--"].contains(where: line.hasPrefix) { continue }
      if line.hasPrefix("["), line.contains("]: ") { continue }
      count += line.split(separator: " ").count
    }
    return count
  }

  @Test(arguments: pages) func `Every link of a page leads to a file and to a heading of it`(page: String)
    throws
  {
    let text = try Self.text(page)
    let folder = URL(fileURLWithPath: "\(Self.root)/\(page)").deletingLastPathComponent().path
    for part in text.components(separatedBy: "](").dropFirst() {
      let link = part.prefix { $0 != ")" }
      if link.hasPrefix("http") { continue }
      let pieces = link.split(separator: "#", omittingEmptySubsequences: false)
      let path = pieces[0].isEmpty ? "\(Self.root)/\(page)" : "\(folder)/\(pieces[0])"
      #expect(FileManager.default.fileExists(atPath: path), "\(page): \(link)")
      guard pieces.count > 1, path.hasSuffix(".md") else { continue }
      let target = try String(contentsOfFile: path, encoding: .utf8)
      #expect(Self.anchors(target).contains(String(pieces[1])), "\(page): \(link)")
    }
  }

  @Test(arguments: pages) func `A page is read in five minutes`(page: String) throws {
    #expect(Self.proseWordCount(try Self.text(page)) <= 1_200)
  }

  @Test(arguments: pages) func `A page names who acts`(page: String) throws {
    let words = try Self.text(page).lowercased().split { !$0.isLetter }
    let vague: Set<Substring> = ["whoever", "nobody", "somebody", "anybody", "everybody", "anyhow"]
    #expect(words.filter(vague.contains) == [], "\(page): a CPU, a thread, a caller or an owner has a name")
  }

  @Test func `The page of commands names every target of make, and no other`() throws {
    let targets = try Self.text("Makefile").split(separator: "\n").filter { $0.hasPrefix(".PHONY:") }
      .flatMap { $0.split(separator: " ").dropFirst().map(String.init) }
    #expect(!targets.isEmpty)
    let page = try Self.text("docs/commands.md")
    let named = page.components(separatedBy: "| `make ").dropFirst().map { String($0.prefix { $0 != "`" }) }
    #expect(named.sorted() == targets.sorted())
  }

  @Test func `The map of pages names every page`() throws {
    let map = try Self.text("docs/README.md")
    for page in Self.pages where page != "README.md" && page != "docs/README.md" {
      let name = page.dropFirst("docs/".count)
      #expect(map.contains("| [\(name)](\(name)) |"), "\(name)")
    }
  }
}
