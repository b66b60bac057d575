// The live view of a run.

import ImageTools
import Testing

@testable import kstacks

@Suite struct LiveViewTests {
  static let line = #"""
    {"type":"progress","done":64,"total":128,"what":"forks","freeBytes":1048576,"picture":"rfbs","cpus":"12/3 0/4"}
    """#

  @Test func `A line of progress shows memory and each CPU`() throws {
    let lines = watchLines("run", try JSON(parsing: Self.line), memoryBytes: 4 << 20, inColour: false)
    #expect(lines[0] == "run [##########          ] 64 of 128 forks")
    #expect(lines.contains { $0.contains("# kernel  . free  o pinned  S stacks") })
    #expect(lines.contains("free    [##########\(String(repeating: " ", count: 30))] 1 MiB"))
    #expect(
      lines.suffix(2) == [
        "CPU 0   magazine 12 stacks, reserve 3 frames", "CPU 1   magazine 0 stacks, reserve 4 frames",
      ])
  }

  @Test(arguments: [
    "{}", #"{"picture":"?!","cpus":"1/2/3 x","freeBytes":-5,"done":-1}"#,
    #"{"picture":3,"cpus":[],"freeBytes":"x"}"#,
  ]) func `A line without sense shows what it can`(text: String) throws {
    let lines = watchLines("run", try JSON(parsing: text), memoryBytes: 1 << 20, inColour: true)
    #expect(!lines.isEmpty && !lines.contains { $0.hasPrefix("CPU") })
  }

  @Test func `The course of free memory is kept in at most 64 points`() throws {
    let progress = try (1...1000).map { try JSON(parsing: #"{"done":\#($0),"freeBytes":\#(5000 - $0)}"#) }
    let series = try #require(RunOutcome.series(of: progress)?.array)
    #expect(series.count <= 64 && series.count > 32)
    #expect(series[0].string == "1:4999")
    #expect(RunOutcome.series(of: []) == nil)
  }
}
