// The nested package of benchmarks: it resolves without a build, and measures the intended sources.

import Foundation
import ImageTools
import Testing

@Suite struct HostBenchmarkTests {
  let root = PackageRoot.path ?? "."

  @Test func `Its manifest names the core and the yardstick`() async throws {
    let workspace = try Workspace()
    let result = try await Command(
      "swift",
      [
        "package", "--package-path", "\(root)/Lab/Benchmarks", "--scratch-path", "\(workspace.path)/scratch",
        "dump-package",
      ]
    ).run()
    #expect(result.exitCode == 0, "\(result.errors)")
    let manifest = try #require(
      try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
    let targets = try #require(manifest["targets"] as? [[String: Any]])
    let paths = targets.reduce(into: [String: String]()) {
      $0[$1["name"] as? String ?? "?"] = $1["path"] as? String
    }
    #expect(paths == ["Core": "Benchmarks/Core", "HostYardstick": "Sources/CYardstick"])
    for path in paths.values {
      #expect(FileManager.default.fileExists(atPath: "\(root)/Lab/Benchmarks/\(path)"), "\(path)")
    }
  }

  @Test func `The yardstick is the one that the kernel runs`() throws {
    let link = URL(fileURLWithPath: "\(root)/Lab/Benchmarks/Sources/CYardstick").resolvingSymlinksInPath()
    #expect(
      link.path
        == URL(fileURLWithPath: "\(root)/Lab/Kernel/Sources/CYardstick").resolvingSymlinksInPath().path)
  }

  @Test func `No other package fetches what it measures with`() throws {
    for package in [root, "\(root)/Lab", "\(root)/Lab/Kernel"] {
      let manifest = try String(contentsOfFile: "\(package)/Package.swift", encoding: .utf8)
      #expect(!manifest.contains("ordo-one"))
    }
  }

  @Test func `The page has a ratio for each operation`() throws {
    let page = try String(contentsOfFile: "\(root)/docs/benchmarks.md", encoding: .utf8)
    let table = try #require(page.components(separatedBy: "<!-- figures: host -->\n").last)
      .components(separatedBy: "<!-- end of figures -->\n")
    try #require(table.count == 2)
    let rows = table[0].split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst()
      .map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
    let operations = ["cached stack", "cached stack (inlined in Swift)", "stack of a burst", "new stack"]
    let named = ["vmalloc", "growing"].flatMap { strategy in operations.map { "\(strategy): \($0)" } }
    #expect(Set(rows.map { $0[0] }) == Set(named + ["frame"]))
    for row in rows { #expect(row.count == 2 && Double(row[1]) ?? 0 > 0, "\(row)") }
  }
}
