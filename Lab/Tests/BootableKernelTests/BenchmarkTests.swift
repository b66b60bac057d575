// The results of the benchmark, and the same rows on the page about it.

import Foundation
import ImageTools
import Testing

@Suite struct Benchmarks {
  static let strategies = ["linear", "vmalloc", "growing"]

  /// The rows of the table in docs/benchmarks.md: operation, strategy and number of live stacks.
  static func rowsOfPage() throws -> [String] {
    let root = try #require(PackageRoot.path)
    let page = try String(contentsOfFile: "\(root)/docs/benchmarks.md", encoding: .utf8)
    let lines = page.split(separator: "\n").map { String($0) }
    let first = try #require(lines.firstIndex(of: "<!-- figures: costs -->"))
    let last = try #require(lines[first...].firstIndex(of: "<!-- end of figures -->"))
    return lines[first..<last].filter { $0.hasPrefix("| ") }.dropFirst().map { line in
      line.split(separator: "|").prefix(3).map { $0.trimmingCharacters(in: .whitespaces) }
        .joined(separator: ", ").replacingOccurrences(
          of: ",(?=[0-9]{3}$)", with: "", options: .regularExpression)
    }
  }

  @Test func `The page has the rows of a run`() async throws {
    var rows: [String] = []
    for strategy in Self.strategies {
      let run = try await boot("scenario=bench strategy=\(strategy)")
      expectSuccess(run)
      for row in run.records(ofType: "benchmark") where row["instructions"]?.integer != nil {
        rows.append("\(row["name"]?.string ?? "?"), \(strategy), \(row["live"]?.integer ?? -1)")
      }
    }
    #expect(try Self.rowsOfPage() == rows, "`make bench` writes the table anew")
  }

  @Test(arguments: Guest.CPU.allCases) func `Instructions are counted exactly`(cpu: Guest.CPU) async throws {
    expectSuccess(try await boot("scenario=self-test test=instruction-counts") { $0.cpu = cpu })
  }

  @Test(arguments: ["vmalloc", "growing"], Guest.CPU.allCases)
  func `The Swift core takes at most a tenth more than the same policy in C`(strategy: String, cpu: Guest.CPU)
    async throws
  {
    let run = try await boot("scenario=bench strategy=\(strategy)") { $0.cpu = cpu }
    expectSuccess(run)
    let costs = run.records(ofType: "benchmark").reduce(into: [:]) {
      $0[$1["name"]?.string ?? "?"] = $1["instructions"]?.integer
    }
    let compared = costs.keys.filter { $0.hasSuffix(", as in C") }
    #expect(compared.count == 6)
    for name in compared {
      let inC = try #require(costs[name.replacingOccurrences(of: ", as in C", with: ", in C")])
      let inSwift = try #require(costs[name])
      #expect(inC > 0 && inSwift * 10 <= inC * 11, "\(name): \(inSwift) against \(inC)")
    }
  }

  @Test func `Cycles are counted only if asked for, and move no row of instructions`() async throws {
    var rows: [[JSON]] = []
    for option in ["", " cycles=yes"] {
      let run = try await boot("scenario=bench strategy=vmalloc\(option)")
      expectSuccess(run)
      rows.append(run.records(ofType: "benchmark"))
    }
    #expect(rows[0].count > 30 && rows[0].allSatisfy { $0["cycles"]?.integer == nil })
    #expect(rows[0].contains { $0["cycles"] == .null })
    #expect(rows[0].map { $0["instructions"] } == rows[1].map { $0["instructions"] })
    // The emulator's cycle counter shows its time, of which an instruction takes a nanosecond.
    // What surrounds an operation is more of it than of instructions, so the empty measurement has more.
    let counted = rows[1].filter { $0["cycles"]?.integer != nil && $0["name"]?.string != "empty measurement" }
    #expect(counted.count > 15)
    for row in counted {
      let (cycles, instructions) = (row["cycles"]?.integer ?? 0, row["instructions"]?.integer ?? 0)
      #expect(abs(cycles - instructions) <= 4, "\(row["name"]?.string ?? "?"): \(cycles), \(instructions)")
    }
  }

  @Test func `Spreads count each free`() async throws {
    let run = try await boot("scenario=bench strategy=vmalloc")
    let rows = run.records(ofType: "benchmark").filter { $0["spread"] != nil }
    #expect(rows.count >= 5)
    for row in rows {
      let counts = try #require(row["spread"]?.array).map { $0.integer ?? -1 }
      let mean = try #require(row["instructions"]?.integer)
      #expect(counts.reduce(0, +) == 1024 && counts.allSatisfy { $0 >= 0 } && counts.last != 0)
      // The bounds of each power of two bound the mean.
      let least = counts.enumerated().reduce(0) { $0 + $1.element << $1.offset }
      #expect(mean * 1024 >= least && mean * 1024 <= 2 * least + 1024, "\(row)")
    }
  }
}
