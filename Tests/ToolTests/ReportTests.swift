// What a run says: table, closing sentence, refusals, pictures, steps, and the result file.

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

  @Test func theClosingSentenceIsMadeOfTheResults() throws {
    #expect(
      closingSentence(scenario: "fragmented-fork", results: try Self.results.get())
        == "57 MiB free, largest block 8 KiB: contiguous stacks, 0 forks; vmalloc stacks, 1,470 forks.")
    let one = try Self.result("vmalloc", forks: 1, failure: nil)
    #expect(
      closingSentence(scenario: "fragmented-fork", results: [one])
        == "57 MiB free, largest block 8 KiB: vmalloc stacks, 1 fork.")
  }

  @Test func otherScenariosCloseWithTheirStrategies() throws {
    let results = ["linear", "vmalloc"].map { JSON.object([.init("strategy", .string($0))]) }
    #expect(
      closingSentence(scenario: "fork-churn", results: results)
        == "fork-churn: every check held with linear and vmalloc stacks.")
  }

  @Test func theForkTableHasARowForEachStrategy() throws {
    let lines = resultTable(try Self.results.get()).lines
    #expect(lines.count == 4)
    #expect(Set(lines.map(\.count)).count == 1, "all lines are equally long")
    #expect(lines[2].hasPrefix("| linear   |      57 MiB |         8 KiB |     0 |"))
    #expect(lines[3].hasPrefix("| vmalloc  |      57 MiB |         8 KiB | 1,470 |"))
  }

  @Test func otherResultsAreComparedKeyByKey() throws {
    let results = try ["linear", "vmalloc"].map {
      try JSON(
        parsing: #"{"type":"result","strategy":"\#($0)","operations":1000,"peakBytes":8192,"ok":true,"x":null}"#
      )
    }
    #expect(
      resultTable(results).lines == [
        "|            | linear | vmalloc |",
        "|------------|-------:|--------:|",
        "| operations |  1,000 |   1,000 |",
        "| peakBytes  |  8 KiB |   8 KiB |",
        "| ok         |    yes |     yes |",
        "| x          |      - |       - |",
      ])
  }

  @Test func benchmarksAreARowEach() throws {
    let row = try JSON(
      parsing:
        #"{"type":"benchmark","name":"allocate","strategy":"vmalloc","instructions":712,"tlbInvalidations":0,"live":10}"#
    )
    #expect(
      benchmarkTable([row]).lines.last
        == "| allocate  | vmalloc  |   10 |          712 |                 0 |")
  }

  @Test func whatARowDoesNotMeasureIsADash() throws {
    let time = try JSON(
      parsing: #"{"name":"free","strategy":"linear","instructions":9,"tlbInvalidations":1,"live":10}"#)
    let memory = try JSON(
      parsing: """
        {"name":"memory","strategy":"linear","instructions":0,"tlbInvalidations":0,"live":4000,"bytesPerStack":65,\
        "shareOfStack":0.003}
        """)
    #expect(
      benchmarkTable([time, memory]).rows == [
        ["free", "linear", "10", "9", "1", "-"], ["memory", "linear", "4,000", "-", "-", "65 bytes (0.3 %)"],
      ])
    let uncounted = try JSON(
      parsing: #"{"name":"free","strategy":"linear","instructions":0,"tlbInvalidations":1,"live":10}"#)
    #expect(benchmarkTable([uncounted]).rows == [["free", "linear", "10", "-", "1"]])
  }

  @Test func refusalsAreQuoted() throws {
    #expect(
      refusalLines(try Self.results.get()) == [
        "", "linear: order 2 for a thread stack refused: 57 MiB free, largest block 8 KiB",
        "vmalloc: order 0 for user memory refused: 2 MiB free, largest block 4 KiB",
      ])
    #expect(refusalLines([try Self.result("vmalloc", forks: 1, failure: nil)]) == [])
  }

  @Test func thePictureBeforeIsShownOnceWhenAllRunsBeganAlike() throws {
    let titles = pictureLines(try Self.results.get(), inColour: false).filter { $0.contains(": ") }
      .map { $0.prefix { $0 != ":" } }
    #expect(
      titles == [
        "before the first fork", "linear, when fork failed", "linear, after every child has ended",
        "vmalloc, when fork failed", "vmalloc, after every child has ended",
      ])
    #expect(
      pictureLines([try Self.result("linear", forks: 0, failure: nil, maps: false)], inColour: false) == [])
  }

  @Test func aResultFileIsAnArrayWithoutWhatOnlyTheConsoleNeeds() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("results-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("new/folder/result.json").path
    try ResultFile.write(try Self.results.get(), to: path)
    try ResultFile.write(try Self.results.get(), to: path)

    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    let array = try #require(try JSONSerialization.jsonObject(with: data) as? [[String: Any]])
    #expect(array.count == 2)
    #expect(array[1]["forksSucceeded"] as? Int == 1470)
    #expect(array[1]["freeBytesBefore"] as? Int == 60_293_120)
    #expect(
      Set(array[0].keys) == [
        "scenario", "machine", "strategy", "seed", "memoryBytes", "freeBytesBefore", "largestFreeBlockBytes",
        "unusableFreeIndex", "forksAttempted", "forksSucceeded", "firstFailure", "framesPerFork",
        "freeBytesAtFailure", "stackBytes", "leakedFrames",
      ])
    let text = String(decoding: data, as: UTF8.self)
    #expect(try JSON(parsing: text).array?[0].members?.first?.key == "scenario")
  }

  @Test func aFileThatCannotBeWrittenIsNamed() {
    let error = #expect(throws: CommandError.self) { try ResultFile.write([], to: "/dev/null/result.json") }
    #expect(error?.description.hasPrefix("cannot write /dev/null/result.json: ") == true)
  }

  @Test func sizesAndCountsReadWell() {
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

  @Test func sizesAreReadAsPeopleWriteThem() {
    #expect(MemorySize("128M")?.byteCount == 128 << 20)
    #expect(MemorySize("1g")?.byteCount == 1 << 30)
    #expect(MemorySize("16 KiB")?.byteCount == 16384)
    #expect(MemorySize("4096")?.byteCount == 4096)
    for text in ["", "M", "-1M", "1T", "1.5G", "99999999999G", "128MM"] {
      #expect(MemorySize(text) == nil, "\(text)")
    }
  }

  @Test func progressIsABarWithItsCount() {
    #expect(Steps.bar(done: 5, total: 20) == "[#####               ] 5 of 20")
    #expect(Steps.bar(done: 30, total: 20) == "[####################] 30 of 20")
    #expect(Steps.bar(done: 64, total: 0) == "… 64")
  }
}
