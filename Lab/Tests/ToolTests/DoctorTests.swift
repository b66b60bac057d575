// The doctor and the replay as their users meet them: exit codes, lines, files.

import FailureReports
import Foundation
import ImageTools
import Scenarios
import Testing

@testable import Figures
@testable import kstacks

/// A folder for one test.
private struct Folder: ~Copyable {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("doctor-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// Writes a file and gives its path.
  func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    let path = url.appendingPathComponent(name).path
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }
}

@Suite struct DoctorTests {
  private static let limit = "[    1.000001] cgroup: fork rejected by pids controller in /a\n"
  private static let unclear = "bash: fork: Cannot allocate memory\n"

  private func run(_ arguments: [String]) async throws -> CommandResult {
    try await Command(try #require(CommandLineTests.kstacks, "kstacks was not built"), ["doctor"] + arguments)
      .run()
  }

  @Test func `ends with 0 for a verdict, with 1 for none`() async throws {
    let folder = try Folder()
    let clear = try folder.file("clear.txt", Array(Self.limit.utf8))
    let unclear = try folder.file("unclear.txt", Array(Self.unclear.utf8))
    let verdict = try await run([clear])
    #expect(verdict.exitCode == 0)
    #expect(verdict.output.hasPrefix("A process could not be started because the control group of /a "))
    #expect(try await run([unclear]).exitCode == 1)
    #expect(try await run([unclear, clear]).exitCode == 0)
  }

  @Test func `ends with 2 for what is no log, says why in a line, and reads the others`() async throws {
    let folder = try Folder()
    let clear = try folder.file("clear.txt", Array(Self.limit.utf8))
    let cases: [(path: String, reason: String)] = [
      (try folder.file("empty", []), "is empty"),
      (try folder.file("archive", [0x1f, 0x8b, 8, 0, 0, 1, 2]), "is no text: it is compressed with gzip"),
      (try folder.file("noise", (0..<9000).map { UInt8(truncatingIfNeeded: $0 &* 7919) }), "is no text"),
      (try folder.file("letter", Array("Dear all,\n".utf8)), "has no report of a failed allocation"),
      (try folder.file("line", [UInt8](repeating: 0x61, count: 17 << 20)), "line 1 is longer than 16 MiB"),
      (folder.url.path, "is a directory"),
      (folder.url.path + "/none", "cannot be read: No such file or directory"),
    ]
    for (path, reason) in cases {
      let result = try await run([path, clear])
      #expect(result.exitCode == 2, "\(reason)")
      #expect(result.output.contains("the control group of /a"), "\(reason)")
      let lines = result.errors.split(separator: "\n")
      #expect(lines.count == 1 && lines[0].contains("\(path) \(reason)"), "\(result.errors)")
    }
  }

  @Test func `writes JSON whose unknown figures are null`() async throws {
    let folder = try Folder()
    let clear = try folder.file("clear.txt", Array(Self.limit.utf8))
    let result = try await run([clear, "--json", "-"])
    let files = try #require(try JSON(parsing: result.output).array)
    #expect(files.count == 1)
    #expect(files[0]["file"]?.string == clear)
    #expect(files[0]["kind"]?.string == "failure")
    let failure = try #require(files[0]["failures"]?.array?.first)
    #expect(failure["cause"]?.string == "limit")
    #expect(failure["threadStack"]?.string == "unknown")
    #expect(failure["order"] == .null)
    #expect(failure["helps"]?.array?.compactMap(\.string) == ["raiseLimit"])
  }

  @Test func `reads a long log in little time and memory`() async throws {
    let folder = try Folder()
    let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("FailureReportsTests/CleanLogs/fork-4.7-without-block.txt")
    let one = Array(try Data(contentsOf: source))
    var bytes: [UInt8] = []
    while bytes.count < 8 << 20 { bytes += one }
    let log = try folder.file("long.txt", bytes)
    // Limits of processor time and of data, not of time: a build without optimization takes 3 s and 60 MB.
    let limits = "ulimit -t 30 && ulimit -d 120000 && exec \"$0\" doctor \"$1\""
    let kstacks = try #require(CommandLineTests.kstacks, "kstacks was not built")
    let result = try await Command("sh", ["-c", limits, kstacks, log]).run()
    #expect(result.exitCode == 0, "\(result.errors)")
    #expect(result.output.hasPrefix("make could not start a process or thread"))
  }

  @Test func `foretells the failure of a machine whose files are copied`() async throws {
    let folder = try Folder()
    for (path, text) in [
      (
        "proc/buddyinfo",
        "Node 0, zone      DMA   9000   2500" + String(repeating: "      0", count: 9) + "\n"
      ),
      ("proc/sys/kernel/osrelease", "6.1.0\n"),
      ("proc/meminfo", "MemTotal:         120000 kB\nKernelStack:         800 kB\n"),
      ("proc/loadavg", "0.00 0.00 0.00 1/50 64\n"),
      ("boot/config-6.1.0", "# CONFIG_VMAP_STACK is not set\n"),
    ] {
      let file = folder.url.appendingPathComponent(path)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: file)
    }
    let result = try await run(["--root", folder.url.path])
    #expect(result.exitCode == 0)
    #expect(result.output.hasPrefix("The next fork will fail: it needs 16 KiB of memory in one piece"))
    #expect(try await run(["--root", folder.url.path + "/boot"]).errors.contains("has no proc/buddyinfo"))
    #expect(try await run(["--root", folder.url.path, "--watch", "1"]).exitCode != 0)
  }

  @Test func `replaces no log by a result`() async throws {
    let folder = try Folder()
    let clear = try folder.file("clear.txt", Array(Self.limit.utf8))
    let result = try await run([clear, "--json", clear])
    #expect(result.exitCode != 0)
    #expect(try String(contentsOfFile: clear, encoding: .utf8) == Self.limit)
  }
}

@Suite struct ReplayedReportTests {
  private static let report = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent(
      "FailureReportsTests/CleanLogs/driver-2.6.32-old-wording.txt"
    ).path

  private func replay(_ arguments: [String]) throws -> Replay? {
    try ReplayArguments.parse(arguments).replay(scenario: "fragmented-fork", memory: nil)
  }

  @Test func `fails the run whose free blocks are others`() throws {
    let replay = try #require(try replay(["--from-report", Self.report]))
    #expect(replay.plan.freeBlocks == [572, 175, 33, 0, 0, 0, 0, 0, 0, 0, 0])
    func result(_ blocks: [Int]) -> JSON { .object(["freeBlocks": .array(blocks.map { .integer($0) })]) }
    let completed = try replay.completed(result([572, 175, 33, 0, 0, 0, 0, 0, 0, 0, 0]))
    #expect(completed["report"]?["zone"]?.string == "Normal")
    #expect(throws: CommandError.self) {
      try replay.completed(result([572, 175, 34, 0, 0, 0, 0, 0, 0, 0, 0]))
    }
    #expect(throws: CommandError.self) { try replay.completed(result([])) }
  }

  @Test func `is refused in one line where it cannot be`() throws {
    func problem(_ arguments: [String], scenario: String = "fragmented-fork") -> String {
      do {
        _ = try ReplayArguments.parse(arguments).replay(scenario: scenario, memory: nil)
        return "none"
      } catch { return "\(error)" }
    }
    #expect(problem(["--zone", "DMA"]).contains("choose from --from-report"))
    #expect(problem(["--from-report", Self.report], scenario: "recovery").contains("fragmented-fork does"))
    #expect(
      problem(["--from-report", Self.report, "--failure", "2"]).contains("there is no failure 2: it has 1"))
    #expect(problem(["--from-report", Self.report, "--failure", "0"]).contains("counted from 1"))
    #expect(
      problem(["--from-report", Self.report, "--zone", "DMA"]).contains(
        "no whole free list of zone DMA; whole ones: Normal"))
    #expect(problem(["--from-report", "/none"]).contains("No such file"))
  }

  @Test func `has the sentence of its case`() {
    func result(_ strategy: String, _ forks: Int) -> JSON {
      .object([
        "strategy": .string(strategy), "forksSucceeded": .integer(forks),
        "freeBytesBefore": .integer(49_268 << 10),
        "largestFreeBlockBytes": .integer(8192),
        "report": .object(["zone": .string("Normal"), "factor": .integer(1)]),
      ])
    }
    #expect(
      closingSentence(
        scenario: "fragmented-fork",
        results: [result("linear", 0), result("vmalloc", 1211), result("growing", 2870)])
        == "On this machine (zone Normal, 48 MiB usable, in pieces of 8 KiB at most) "
        + "contiguous stacks: 0 forks; vmalloc: 1,211 forks; growing: 2,870 forks."
    )
  }
}
