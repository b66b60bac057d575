// The report of a run: table, closing sentence, refusals, pictures, steps, and the result file.

import Figures
import Foundation
import ImageTools
import Testing

@testable import kstacks

@Suite struct ReportTests {
  static func result(_ strategy: String, forks: Int, failure: String?, maps: Bool = true) throws -> JSON {
    let failureText = failure.map { "\"\($0)\"" } ?? "null"
    let text = """
      {"type":"result","scenario":"fragmented-fork","machine":"qemu-virt","strategy":"\(strategy)","seed":1,\
      "memoryBytes":134217728,"freeBytesBefore":60293120,"largestFreeBlockBytes":8192,"unusableFreeIndex":1.0,\
      "forksAttempted":\(forks + 1),"forksSucceeded":\(forks),"firstFailure":\(failureText),"framesPerFork":10,\
      "freeBytesAtFailure":\(60_293_120 - forks * 40960),"stackBytes":\(forks * 16384),"leakedFrames":0\
      \(maps ? ",\"frameMaps\":{\"before\":\"r2f2\",\"atFailure\":\"r2s2\",\"after\":\"r2f2\"}" : "")}
      """
    return try JSON(parsing: text)
  }

  static let results = Result {
    [
      try result(
        "linear", forks: 0, failure: "order 2 for a thread stack refused: 57 MiB free, largest block 8 KiB"),
      try result(
        "vmalloc", forks: 1470, failure: "order 0 for user memory refused: 2 MiB free, largest block 4 KiB"),
    ]
  }

  @Test func `The closing sentence is made of the results`() throws {
    #expect(
      closingSentence(scenario: "fragmented-fork", results: try Self.results.get())
        == "57 MiB free, largest block 8 KiB: contiguous stacks, 0 forks; vmalloc stacks, 1,470 forks.")
    let one = try Self.result("vmalloc", forks: 1, failure: nil)
    #expect(
      closingSentence(scenario: "fragmented-fork", results: [one])
        == "57 MiB free, largest block 8 KiB: vmalloc stacks, 1 fork.")
  }

  @Test func `Other scenarios close with their strategies`() throws {
    let results = ["linear", "vmalloc"].map { JSON.object(["strategy": .string($0)]) }
    #expect(
      closingSentence(scenario: "fork-churn", results: results)
        == "fork-churn: every check held with linear and vmalloc stacks.")
  }

  @Test func `Many seeds close with their number and have a row each`() throws {
    let results = try ["linear", "vmalloc", "growing"].flatMap { strategy in
      try [7, 8].map { try Self.result(strategy, forks: 5, failure: nil).adding("seed", .integer($0)) }
    }
    #expect(
      closingSentence(scenario: "fragmented-fork", results: results)
        == "fragmented-fork: every check held with linear, vmalloc and growing stacks, with each of 2 seeds.")
    let lines = resultTable(results).lines
    #expect(lines.count == 8)
    #expect(lines[0].hasPrefix("| strategy | seed | free before |"))
    #expect(lines[7].hasPrefix("| growing  |    8 |"))
    #expect(
      !reportLines(
        scenario: "fragmented-fork", results: results, benchmarks: [], succeeded: true, inColour: false
      )
      .contains { $0.hasPrefix("Physical memory") })
  }

  @Test func `A table of seeds has only columns that say something`() throws {
    let results = [1, 2].map {
      JSON.object(["strategy": .string("vmalloc"), "seed": .integer($0), "leakedFrames": .integer(0)])
    }
    #expect(resultTable(results).lines[0] == "| strategy | seeds | leaked frames |")
  }

  @Test func `The fork table has a row for each strategy`() throws {
    let lines = resultTable(try Self.results.get()).lines
    #expect(lines.count == 4)
    #expect(Set(lines.map(\.count)).count == 1, "all lines are equally long")
    #expect(lines[2].hasPrefix("| linear   |      57 MiB |         8 KiB |     0 |"))
    #expect(lines[3].hasPrefix("| vmalloc  |      57 MiB |         8 KiB | 1,470 |"))
  }

  @Test func `Other results are compared key by key`() throws {
    let results = try ["linear", "vmalloc"].map {
      try JSON(
        parsing:
          #"{"type":"result","strategy":"\#($0)","operations":1000,"peakOfStackBytes":8192,"ok":true,"x":null}"#
      )
    }
    #expect(
      resultTable(results).lines == [
        "|               | linear | vmalloc |",
        "|---------------|-------:|--------:|",
        "| ok            |    yes |     yes |",
        "| operations    |  1,000 |   1,000 |",
        "| peak of stack |  8 KiB |   8 KiB |",
      ])
  }

  @Test func `Benchmarks are a row each with floor and limit of those that have them`() throws {
    let rows = try [
      #"{"name":"free","strategy":"linear","instructions":9,"tlbInvalidations":1,"live":10}"#,
      #"{"name":"new","strategy":"vmalloc","instructions":712,"tlbInvalidations":0,"live":4000,"floor":65,"limit":800}"#,
      """
      {"name":"tables","strategy":"vmalloc","instructions":null,"tlbInvalidations":null,"live":4000,\
      "bytesPerStack":65,"shareOfStack":0.003,"shareLimit":0.02}
      """,
    ].map { try JSON(parsing: $0) }
    #expect(
      benchmarkTable(rows).lines == [
        "| operation | strategy |  live |    instructions | floor | limit | TLB invalidations |",
        "|-----------|----------|------:|----------------:|------:|------:|------------------:|",
        "| free      | linear   |    10 |               9 |       |       |                 1 |",
        "| new       | vmalloc  | 4,000 |             712 |    65 |   800 |                 0 |",
        "| tables    | vmalloc  | 4,000 | 65 bytes, 0.3 % |       |   2 % |                 - |",
      ])
  }

  @Test func `Cycles have a column where a CPU counted them`() throws {
    let rows = try [
      #"{"name":"free","strategy":"linear","instructions":9,"cycles":4,"tlbInvalidations":1,"live":10}"#,
      #"{"name":"worst","strategy":"linear","instructions":9,"cycles":null,"tlbInvalidations":1,"live":10}"#,
    ].map { try JSON(parsing: $0) }
    #expect(benchmarkTable(rows).heading.last == "cycles")
    #expect(benchmarkTable(rows).rows.map(\.last) == ["4", "-"])
    #expect(!benchmarkTable([rows[1]]).heading.contains("cycles"))
  }

  @Test func `Waits for locks are a row each, the longest first, with their shares`() throws {
    let result = try JSON(
      parsing: """
        {"strategy":"vmalloc","lockWaits":{"runQueues":{"waits":3,"nanoseconds":1000},\
        "processTable":{"waits":12,"nanoseconds":9000}}}
        """)
    #expect(
      lockWaitTable([result])?.rows == [
        ["vmalloc", "process table", "12", "9", "90 %"], ["vmalloc", "run queues", "3", "1", "10 %"],
      ])
    #expect(lockWaitTable([try JSON(parsing: #"{"strategy":"vmalloc"}"#)]) == nil)
  }

  @Test func `A machine that cannot count leaves dashes`() throws {
    let row = try JSON(
      parsing: #"{"name":"free","strategy":"linear","instructions":0,"tlbInvalidations":1,"live":10}"#)
    #expect(benchmarkTable([row]).rows == [["free", "linear", "10", "-", "", "", "1"]])
  }

  func report(_ results: [JSON], succeeded: Bool = true) -> [String] {
    reportLines(
      scenario: "fragmented-fork", results: results, benchmarks: [], succeeded: succeeded, inColour: false)
  }

  @Test func `Refusals are quoted once, with the picture or without one`() throws {
    let refusal = "order 2 for a thread stack refused: 57 MiB free, largest block 8 KiB"
    for maps in [true, false] {
      let lines = report([try Self.result("linear", forks: 0, failure: refusal, maps: maps)])
      #expect(lines.count { $0.contains(refusal) } == 1, "\(lines)")
    }
    let lines = report([try Self.result("vmalloc", forks: 1, failure: nil)])
    #expect(!lines.contains { $0.contains("refused") || $0.contains("null") })
  }

  @Test func `Only a success has a closing sentence`() throws {
    let results = try Self.results.get()
    let sentence = closingSentence(scenario: "fragmented-fork", results: results)
    #expect(report(results).last == sentence)
    #expect(!report(results, succeeded: false).contains(sentence))
  }

  func titles(_ results: [JSON]) -> [String] {
    pictureLines(results, inColour: false).filter { $0.hasSuffix(":") }
  }

  @Test func `The picture before is shown once when all runs began alike`() throws {
    let before = "before the first fork (57 MiB free, largest block 8 KiB):"
    let linear =
      "linear, first failure after 0 forks (order 2 for a thread stack refused: 57 MiB free, largest block 8 KiB):"
    let vmalloc =
      "vmalloc, first failure after 1,470 forks (order 0 for user memory refused: 2 MiB free, largest block 4 KiB):"
    var results = try Self.results.get()
    #expect(titles(results) == [before, linear, vmalloc])
    #expect(titles([results[1]]) == [before, vmalloc])

    results[1] = try JSON(parsing: results[1].formatted.replacing("r2f2", with: "r3f1"))
    #expect(titles(results) == ["linear, \(before)", "vmalloc, \(before)", linear, vmalloc])
    #expect(
      pictureLines([try Self.result("linear", forks: 0, failure: nil, maps: false)], inColour: false) == [])
  }

  @Test func `One legend explains all pictures, and a line the end`() throws {
    let lines = pictureLines(try Self.results.get(), inColour: false)
    #expect(lines.first == "Physical memory, 128 bytes a character: # kernel  . free  S stacks")
    #expect(lines.last == "After every child had ended, all memory was free again (0 frames leaked).")
    let leaking = try JSON(
      parsing: Self.results.get()[1].formatted.replacing("Frames\" : 0", with: "Frames\" : 3"))
    #expect(
      pictureLines([leaking], inColour: false).last
        == "After every child had ended, frames were missing: vmalloc 3.")
  }

  @Test func `A result file is an array without what only the console needs`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("results-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("new/folder/result.json").path
    for _ in 0..<2 {
      try ResultFile.prepare(path)
      try ResultFile.write(try Self.results.get(), to: path)
    }
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/new/folder")
    #expect(files == ["result.json"], "nothing else is left behind")

    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    let array = try #require(try JSONSerialization.jsonObject(with: data) as? [[String: Any]])
    #expect(array.count == 2)
    #expect(array[1]["forksSucceeded"] as? Int == 1470)
    #expect(array[1]["freeBytesBefore"] as? Int == 60_293_120)
    #expect(
      Set(array[0].keys) == [
        "scenario", "machine", "strategy", "seed", "memoryBytes", "freeBytesBefore", "largestFreeBlockBytes",
        "unusableFreeIndex", "forksAttempted", "forksSucceeded", "firstFailure", "framesPerFork",
        "freeBytesAtFailure", "stackBytes", "frameMaps", "leakedFrames",
      ])
  }

  @Test func `A link to a result file stays a link`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("results-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("result.json").path
    let link = folder.appendingPathComponent("link.json").path
    try ResultFile.prepare(file)
    try ResultFile.write([], to: file)
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
    try ResultFile.prepare(link)
    try ResultFile.write([.object([:])], to: link)
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == file)
    #expect(try JSON(parsing: String(contentsOfFile: file, encoding: .utf8)) == .array([.object([:])]))
  }

  @Test(arguments: ["/proc/result.json", "/dev/null/result.json", "/dev/stdout", "/", ""])
  func `A file that cannot be written is named before the run`(path: String) {
    let error = #expect(throws: CommandError.self) { try ResultFile.prepare(path) }
    #expect(error?.description.hasPrefix(path.isEmpty ? "the file" : "cannot write \(path): ") == true)
  }

  @Test func `Sizes and counts read well`() {
    #expect(readable(byteCount: 0) == "0 bytes")
    #expect(readable(byteCount: 1) == "1 byte")
    #expect(readable(byteCount: 8192) == "8 KiB")
    #expect(readable(byteCount: 1536 << 10) == "1.5 MiB")
    #expect(readable(byteCount: 57 << 20) == "57 MiB")
    #expect(readable(byteCount: 1 << 30) == "1 GiB")
    #expect(counted(1, "fork") == "1 fork")
    #expect(counted(1_234_567, "fork") == "1,234,567 forks")
    #expect(grouped(-1000) == "-1,000")
    #expect(grouped(100) == "100")
  }

  @Test func `Progress is a bar with its count`() {
    #expect(Steps.bar(done: 5, total: 20) == "[#####               ] 5 of 20")
    #expect(Steps.bar(done: 30, total: 20) == "[####################] 30 of 20")
    #expect(Steps.bar(done: 64, total: 0) == "… 64")
  }
}

@Suite struct DepthTableTests {
  static func result(_ histogram: String, stacks: String) throws -> JSON {
    try JSON(parsing: #"{"strategy":"growing","highWaterHistogram":[\#(histogram)],"stacks":[\#(stacks)]}"#)
  }

  @Test func `Every bucket up to the last has a bar in proportion`() throws {
    let lines = depthLines([try Self.result("0,80,1,0,0", stacks: "")])
    #expect(lines[1] == "High-water marks of 81 growing stacks, in KiB:")
    #expect(lines[2] == "  0… 1       0")
    #expect(lines[3] == "  1… 2      80 " + String(repeating: "#", count: 40))
    #expect(lines[4] == "  2… 3       1 #")
    #expect(!lines.contains { $0.hasPrefix("  3…") })
  }

  @Test func `The deepest threads come first and only they are shown`() throws {
    let stacks = (0..<20).map { #"{"thread":\#($0),"mappedPages":1,"highWaterBytes":\#($0 * 100)}"# }
    let lines = depthLines([try Self.result("20", stacks: stacks.joined(separator: ","))])
    let rows = lines.filter { $0.hasPrefix("|  ") }
    #expect(rows.count == 8)
    #expect(rows[0].contains("19") && rows[0].contains("1,900"))
    #expect(lines.last == "(all 20 are in the results)")
  }

  @Test func `Results without marks have no histogram`() {
    #expect(depthLines([.object(["strategy": .string("linear")])]).isEmpty)
  }
}
