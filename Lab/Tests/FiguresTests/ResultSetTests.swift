// Reading results: valid ones are used, and each other gets one line.

import Foundation
import ImageTools
import Testing

@testable import Figures

/// Results as the commands write them, small.
enum Sample {
  static func fork(_ strategy: String, forks: Int, maps: Bool = true, series: Bool = true) -> JSON {
    var members: [String: JSON] = [
      "scenario": .string("fragmented-fork"), "strategy": .string(strategy), "machine": .string("qemu"),
      "memoryBytes": .integer(4 << 20), "seed": .integer(1), "stackSizeBytes": .integer(16384),
      "freeBytesBefore": .integer(512 * 4096), "largestFreeBlockBytes": .integer(8192),
      "forksSucceeded": .integer(forks), "freeBytesAtFailure": .integer(forks == 0 ? 512 * 4096 : 4096),
      "leakedFrames": .integer(0),
    ]
    let pieces = String(repeating: "f1b1", count: 504)
    if maps {
      members["frameMaps"] = .object([
        "before": .string("r16\(pieces)"), "after": .string("r16\(pieces)"),
        "atFailure": .string(
          forks == 0 ? "r16\(pieces)" : "r16" + String(repeating: "s1b1p1b1s1b1u1b1", count: 125) + "t1b1f1b1m4"
        ),
      ])
    }
    if series { members["series"] = .array([.string("64:1000000"), .string("128:500000")]) }
    return .object(members)
  }

  static let forks = [fork("linear", forks: 0), fork("vmalloc", forks: 200), fork("growing", forks: 300)]

  static let costs: [JSON] = ["linear", "vmalloc", "growing"].flatMap { strategy in
    [
      ("allocate new stack", 10, 600), ("allocate new stack", 4000, 610), ("free stack, cache full", 4000, 900),
      ("free stack, cache full, worst", 4000, 3000), ("growth fault, store included, worst", 1, 120),
      ("grow by a page, without exception", 1034, 71),
    ].map { name, live, cost in
      .object([
        "name": .string(name), "strategy": .string(strategy), "live": .integer(live),
        "instructions": .integer(cost),
      ])
    }
  }

  static let linux: [JSON] = [("contiguous", 0, 361), ("vmap", 64, 1_231_840), ("kernelstacks", 64, 2449)].map {
    .object([
      "kernel": .string($0.0), "forksAttempted": .integer(64), "forksSucceeded": .integer($0.1),
      "allocInstructions": .integer(1000), "freeInstructions": .integer(300),
      "worstFreeInstructions": .integer($0.2),
    ])
  }

  static func text(_ entries: [JSON]) throws -> String { try JSON.array(entries).formatted }

  /// All of them, as if read from files.
  static func all() throws -> ResultSet {
    var set = ResultSet()
    set.add("fragmented-fork.json", try text(forks))
    set.add("bench.json", try text(costs))
    set.add("linux.json", try text(linux))
    return set
  }
}

@Suite struct ResultSetTests {
  @Test func `Good results raise no complaint`() throws {
    let set = try Sample.all()
    #expect(set.problems == [])
    #expect(set.files == ["fragmented-fork.json", "bench.json", "linux.json"])
    #expect(set.forks.count == 3 && set.costs.count == 18 && set.linux.count == 3)
  }

  @Test func `Missing files are named with the command that writes them`() throws {
    let set = ResultSet(folder: "/nowhere/at/all")
    #expect(
      set.problems == [
        "fragmented-fork.json is missing; `make run` writes it.",
        "bench.json is missing; `make bench` writes it.",
        "linux.json is missing; `make linux` writes it.",
      ])
  }

  @Test func `A truncated file gets a line`() throws {
    let text = try Sample.text(Sample.forks)
    for length in [0, 1, text.count / 2, text.count - 2] {
      var set = ResultSet()
      set.add("fragmented-fork.json", String(text.prefix(length)))
      #expect(set.problems == ["fragmented-fork.json is truncated or no JSON; `make run` writes it anew."])
      #expect(set.forks.isEmpty && set.files.isEmpty)
    }
  }

  @Test(arguments: [
    "{}", "[]", "3", "null", "\"text\"", "[1, 2]", "[{\"scenario\": \"x\"}]",
    "[{\"name\": \"npm\", \"version\": 2}]",
    "[{\"scenario\": 4, \"strategy\": []}]", "[[[[]]]]",
  ]) func `A foreign file gets a line`(text: String) {
    var set = ResultSet()
    set.add("package.json", text)
    #expect(set.problems == ["package.json is no result of KernelStacks."])
  }

  @Test func `Results of another version get a line, and are used as far as they go`() throws {
    var set = ResultSet()
    set.add("fragmented-fork.json", try Sample.text([Sample.fork("vmalloc", forks: 200, maps: false)]))
    #expect(
      set.problems == [
        "fragmented-fork.json is of another version of KernelStacks: it has no frame maps; `make run` writes it anew."
      ])
    #expect(ReportPage(set).figures.map(\.name) == ["forks"])
    set = ResultSet()
    set.add("fragmented-fork.json", try Sample.text([Sample.fork("vmalloc", forks: 200, series: false)]))
    #expect(set.problems.count == 1 && set.problems[0].contains("it has no series"))
  }

  @Test func `A folder is read, whatever lies in it`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("figures-\(UUID().uuidString)")
    try FileManager.default.createDirectory(
      at: folder.appendingPathComponent("folder.json"), withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Data(Sample.text(Sample.costs).utf8).write(to: folder.appendingPathComponent("bench.json"))
    try Data([0xff, 0xfe, 0, 1]).write(to: folder.appendingPathComponent("linux.json"))
    try Data("other".utf8).write(to: folder.appendingPathComponent("note.txt"))
    let set = ResultSet(folder: folder.path)
    #expect(set.files == ["bench.json"])
    #expect(set.problems.count == 3, "\(set.problems)")
    #expect(set.problems.contains { $0.hasPrefix("folder.json") })
    #expect(set.problems.contains { $0.hasPrefix("linux.json is truncated") })
    #expect(set.problems.contains { $0.hasPrefix("fragmented-fork.json is missing") })
  }
}
