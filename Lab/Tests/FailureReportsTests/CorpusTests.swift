// Every public report gets its verdict, with its figures.

import FailureReports
import Testing

/// A verdict and the figures it rests on; sizes in KiB, `nil` where the report does not tell.
struct Expected: CustomTestStringConvertible, Sendable {
  var file: String
  var index = 0
  var of: Int
  var stack: ThreadStackAnswer
  var cause: Cause
  var line: Int
  var order: Int?
  var zone: String?
  var node: Int?
  var free: UInt64?
  var usable: UInt64?
  var largest: UInt64?
  var largestUsable: UInt64?
  var single: UInt64?
  var page: UInt64?

  var testDescription: String { "\(file) #\(index + 1)" }
}

let expectations: [Expected] = [
  Expected(
    file: "01", of: 1, stack: .yes, cause: .fragmentation, line: 1, order: 2, zone: "DMA", free: 470_628,
    usable: 470_628, largest: 16, largestUsable: 16, single: 68_324, page: 4),
  Expected(
    file: "02", of: 1, stack: .yes, cause: .shortage, line: 1, order: 1, zone: "Normal", node: 0, free: 20_212,
    usable: 13_424, page: 4),
  Expected(
    file: "04", of: 2, stack: .yes, cause: .fragmentation, line: 1, order: 2, zone: "Normal", node: 0,
    free: 49_268,
    usable: 48_580, largest: 64, largestUsable: 8, single: 9_927, page: 4),
  Expected(
    file: "04", index: 1, of: 2, stack: .yes, cause: .fragmentation, line: 57, order: 2, zone: "DMA32", node: 0,
    free: 71_868, usable: 71_868, largest: 8, largestUsable: 8, single: 14_370, page: 4),
  Expected(
    file: "06", of: 1, stack: .yes, cause: .other, line: 1, order: 2, zone: "DMA32", node: 0, free: 8188,
    usable: 8188, largest: 1024, largestUsable: 1024, single: 21, page: 4),
  Expected(
    file: "07", of: 1, stack: .yes, cause: .fragmentation, line: 1, order: 2, zone: "DMA32", node: 0,
    free: 83_292,
    usable: 83_292, largest: 8, largestUsable: 8, single: 9514, page: 4),
  Expected(
    file: "09", of: 2, stack: .no, cause: .fragmentation, line: 2, order: 5, zone: "DMA32", node: 0,
    free: 60_196,
    usable: 59_420, largest: 64, largestUsable: 64, single: 4154, page: 4),
  Expected(
    file: "09", index: 1, of: 2, stack: .no, cause: .fragmentation, line: 41, order: 6, zone: "DMA32", node: 0,
    free: 71_164, usable: 67_004, largest: 128, largestUsable: 128, single: 2838, page: 4),
  Expected(
    file: "10", of: 1, stack: .no, cause: .contiguousReserve, line: 1, order: 0, zone: "DMA", free: 143_792,
    usable: 656, largest: 32, largestUsable: 32, single: 4452, page: 4),
  Expected(
    file: "11", of: 1, stack: .no, cause: .contiguousReserve, line: 36, order: 0, zone: "DMA", free: 143_792,
    usable: 656, largest: 32, largestUsable: 32, single: 4452, page: 4),
  Expected(
    file: "13", of: 2, stack: .no, cause: .contiguousReserve, line: 1, order: 0, zone: "DMA32", node: 0,
    free: 613_120,
    usable: 89_344, largest: 262_144, largestUsable: 32_768, single: 12, page: 64),
  Expected(
    file: "13", index: 1, of: 2, stack: .no, cause: .contiguousReserve, line: 36, order: 0, zone: "DMA32",
    node: 0,
    free: 613_120, usable: 89_344, largest: 262_144, largestUsable: 32_768, single: 12, page: 64),
  Expected(
    file: "16", of: 1, stack: .unknown, cause: .unknown, line: 1, zone: "DMA", node: 3, free: 35_232,
    usable: 35_232),
  Expected(
    file: "17", of: 1, stack: .no, cause: .fragmentation, line: 1, order: 3, zone: "Normal", free: 1032,
    usable: 1032,
    largest: 32, largestUsable: 32, single: 72, page: 4),
  Expected(
    file: "19", of: 1, stack: .unknown, cause: .unknown, line: 1, zone: "Normal", node: 0, free: 24_496,
    usable: 22_448,
    largest: 2048, largestUsable: 256, single: 5404, page: 4),
  Expected(
    file: "21", of: 1, stack: .no, cause: .addressSpace, line: 1, zone: "DMA", node: 0, free: 1_414_940,
    usable: 1_414_940, largest: 4096, largestUsable: 4096, single: 1, page: 4),
  Expected(
    file: "22", of: 1, stack: .no, cause: .addressSpace, line: 1, order: 0, zone: "Normal", free: 139_116,
    usable: 139_116, largest: 4096, largestUsable: 4096, single: 1, page: 4),
  Expected(
    file: "25", of: 1, stack: .no, cause: .shortage, line: 1, order: 0, zone: "Normal", node: 0, free: 43_300,
    usable: 43_300, largest: 256, largestUsable: 256, single: 1231, page: 4),
  Expected(
    file: "26", of: 1, stack: .no, cause: .emptyZone, line: 1, order: 0, zone: "DMA", node: 0, free: 0,
    largest: 0,
    largestUsable: 0, single: 0, page: 16),
  Expected(
    file: "28", of: 1, stack: .no, cause: .fragmentation, line: 26, order: 9, zone: "DMA", free: 21_028,
    usable: 21_028,
    largest: 1024, largestUsable: 1024, single: 43, page: 4),
  Expected(file: "31", of: 2, stack: .unknown, cause: .limit, line: 1),
  Expected(file: "31", index: 1, of: 2, stack: .unknown, cause: .limit, line: 5),
  Expected(file: "33", of: 2, stack: .yes, cause: .overflow, line: 1),
  Expected(file: "33", index: 1, of: 2, stack: .yes, cause: .overflow, line: 2),
  Expected(file: "36", of: 1, stack: .no, cause: .limit, line: 5, order: 0),
  Expected(file: "37", of: 1, stack: .unknown, cause: .unknown, line: 2),
  Expected(file: "38", of: 1, stack: .unknown, cause: .unknown, line: 1),
  Expected(file: "39", of: 1, stack: .no, cause: .unknown, line: 1, order: 5),
]

@Suite struct PublicReportTests {
  @Test(arguments: expectations) func `get their verdict and their figures`(_ expected: Expected) throws {
    let failures = try Corpus.report(expected.file).failures
    #expect(failures.count == expected.of)
    let failure = try #require(failures.indices.contains(expected.index) ? failures[expected.index] : nil)
    #expect(failure.threadStack == expected.stack)
    #expect(failure.cause == expected.cause)
    #expect(failure.line == expected.line)
    #expect(failure.order == expected.order)
    #expect(failure.zone == expected.zone)
    #expect(failure.node == expected.node)
    #expect(failure.freeBytes == expected.free.map { $0 << 10 })
    #expect(failure.usableFreeBytes == expected.usable.map { $0 << 10 })
    #expect(failure.largestFreeBlockBytes == expected.largest.map { $0 << 10 })
    #expect(failure.largestUsableBlockBytes == expected.largestUsable.map { $0 << 10 })
    #expect(failure.singleFreePages == expected.single)
    #expect(failure.pageBytes == expected.page.map { $0 << 10 })
    #expect(failure.missing.isEmpty == failure.hasVerdict)
    #expect(!failure.sentence.contains("\n"))
  }

  @Test func `all have an expectation`() throws {
    let known = Set(expectations.map(\.file)).union(["30"])
    #expect(Set(try Corpus.names().map { String($0.prefix(2)) }) == known)
  }

  @Test func `name the thread that asked`() throws {
    #expect(try Corpus.report("01").failures[0].process == "server.thread")
    #expect(try Corpus.report("04").failures.map(\.process) == ["bash", "kthreadd"])
    #expect(try Corpus.report("10").failures[0].process == "swapper/0")
    #expect(try Corpus.report("33").failures.map(\.process) == ["swapper/2", "swapper/3"])
  }

  @Test func `of a stall that ends in the OOM killer are one failure`() throws {
    let failure = try #require(try Corpus.report("02").failures.first)
    #expect(failure.evidence.contains { $0.line == 37 && $0.text.contains("OOM killer") })
    #expect(failure.evidence.contains { $0.line == 31 && $0.text.contains("cut off") })
    #expect(failure.requestedBytes == 8192)
    #expect(failure.stackBytes == 8192)
    #expect(failure.helpsNot.contains(.singlePageStacks))
  }

  @Test func `with two descriptions of a zone say which was used`() throws {
    let failure = try #require(try Corpus.report("07").failures.first)
    #expect(failure.evidence.contains { $0.text.contains("62,736 kB") && $0.text.contains("83,292 kB") })
  }

  @Test func `that are tangled lose what does not add up, and say so`() throws {
    let failure = try #require(try Corpus.report("19").failures.first)
    #expect(
      failure.evidence.contains { $0.line == 1 && $0.text.hasPrefix("not used: the free list of zone DMA") })
  }

  @Test func `tell how much of a zone kernel stacks take`() throws {
    let failure = try #require(try Corpus.report("25").failures.first)
    #expect(failure.helps.contains(.growingStacks))
    #expect(
      failure.evidence.contains {
        $0.text == "kernel stacks take 313,872 kB (19,617 of 16 KiB), 6.2 % of the zone"
      })
    let fork = try #require(try Corpus.report("06").failures.first)
    #expect(
      fork.evidence.contains { $0.text == "kernel stacks take 40,704 kB (2,544 of 16 KiB), 8.0 % of the zone" })
  }

  @Test func `of overflows give the distance to the stack`() throws {
    let failure = try #require(try Corpus.report("33").failures.first)
    #expect(failure.stackBytes == 16384)
    #expect(failure.sentence.contains("16 bytes below"))
  }

  @Test func `without a failure are readings`() throws {
    let report = try Corpus.report("30")
    #expect(report.failures.isEmpty)
    #expect(report.snapshots.count == 2)
    let normal = try #require(report.snapshots.first?.rows.last)
    #expect(normal.counts == [1779, 0, 0, 18, 11, 3, 1, 3, 0, 0, 0])
    #expect(
      DiagnosisText.text(report, name: "x").contains(
        "1,792 single pages, 9 of 8 KiB, none of 16 KiB, 18 of 32 KiB"))
  }

  @Test func `of nothing but a program's words ask for what is missing`() throws {
    let failure = try #require(try Corpus.report("38").failures.first)
    #expect(failure.missing.contains("/proc/buddyinfo"))
    #expect(failure.evidence.contains { $0.line == 26 && $0.text.contains("1,420 of 16 KiB") })
  }
}
