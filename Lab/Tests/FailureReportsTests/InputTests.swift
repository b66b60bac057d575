// Input that is no log: one reason, and no harm.

import FailureReports
import Foundation
import Testing

@Suite struct UnusableInputTests {
  private func problem(_ bytes: [UInt8]) -> InputProblem? {
    do throws(InputProblem) {
      _ = try LineReader.examine(bytes)
      return nil
    } catch {
      return error
    }
  }

  @Test func `is told by its reason`() throws {
    #expect(problem([]) == .empty)
    #expect(problem(Array("Dear all,\nour build is broken.\n".utf8)) == .unrelated)
    #expect(problem([0x1f, 0x8b, 8, 0, 1, 2, 3]) == .binary("it is compressed with gzip; unpack it first"))
    #expect(
      problem((0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7919) })
        == .binary("it is full of control characters"))
    #expect(problem([UInt8](repeating: 0x61, count: LineReader.greatestLineLength + 1)) == .endlessLine(1))
  }

  @Test func `can be a folder, or nothing at all`() throws {
    #expect(throws: InputProblem.directory) { try LineReader.examine(path: "/") }
    #expect(throws: InputProblem.unreadable("No such file or directory")) {
      try LineReader.examine(path: "/no/such/file")
    }
  }

  @Test func `ends after the longest line that a log may have, whatever follows`() throws {
    // A gigabyte without a line feed, of which only the beginning is looked at.
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("endless-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data("[ 1.000000] x".utf8).write(to: file)
    let handle = try FileHandle(forWritingTo: file)
    try handle.seekToEnd()
    let piece = Data(repeating: 0x61, count: 1 << 20)
    for _ in 0..<20 { try handle.write(contentsOf: piece) }
    try handle.close()
    #expect(throws: InputProblem.endlessLine(1)) { try LineReader.examine(path: file.path) }
  }

  @Test func `does not include long logs, which take work in proportion to their length`() throws {
    let logs = try CleanLog.all().map { Array($0.messages.joined(separator: "\n").utf8) + [0x0a] }
    /// The least processor time of this thread for so many copies of all logs, in nanoseconds.
    func work(_ copies: Int) throws -> UInt64 {
      let bytes = (0..<copies).flatMap { _ in logs.flatMap { $0 } }
      var least = UInt64.max
      for _ in 0..<3 {
        let start = Self.processorTime()
        let report = try LineReader.examine(bytes)
        least = min(least, Self.processorTime() - start)
        #expect(report.failures.count >= copies * 10)
      }
      return least
    }
    let few = try work(4)
    let many = try work(16)
    // Four times as many; sixteen times as much would be work for all that came before.
    #expect(many < few * 9, "\(few) ns, \(many) ns")
  }

  private static func processorTime() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  @Test func `does not include logs of a crash, with zeros in between`() throws {
    let zeros = String(repeating: "\0", count: 4)
    let report = try LineReader.examine(
      Array("Sep 30 03:58:46 host kernel: cgroup: fork rejected by pids controller in /a\n\(zeros)\n".utf8))
    #expect(report.failures.map(\.cause) == [.limit])
  }

  @Test func `does not include a kernel's log without a failure`() throws {
    let report = try examine(
      "[    0.000000] Booting Linux on physical CPU 0x0\n[    0.000001] Memory: 1K/2K available\n")
    #expect(report.failures.isEmpty)
    #expect(report.hasKernelLines)
  }
}
