// Logs as a kernel prints them, one for each kind of report, and what is true of each.

import FailureReports
import Foundation

/// A log without prefixes, before anything has damaged it.
struct CleanLog: Sendable {
  /// The name of its file.
  var name: String
  /// The messages, one a line.
  var messages: [String]
  var threadStack: ThreadStackAnswer
  var cause: Cause
  /// Whether the kernel prints it; what programs print has no time stamp.
  var isKernel = true

  /// What the doctor says of it undamaged.
  let verdicts: [Failure]
  /// The facts behind the verdicts.
  let reports: [AllocationReport]

  private init(_ name: String, _ threadStack: ThreadStackAnswer, _ cause: Cause, isKernel: Bool = true) throws {
    self.name = name
    self.threadStack = threadStack
    self.cause = cause
    self.isKernel = isKernel
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let file = folder.appendingPathComponent("CleanLogs/\(name).txt")
    let text = try String(contentsOf: file, encoding: .utf8)
    messages = text.split(separator: "\n").map(String.init)
    let report = try LineReader.examine(Array(text.utf8))
    verdicts = report.failures
    reports = report.reports
  }

  /// Whether the log itself has a size in bytes.
  func names(size: UInt64) -> Bool { messages.contains { $0.contains("size \(size)") } }

  /// All of them.
  static func all() throws -> [CleanLog] {
    [
      try CleanLog("fork-4.7-without-block", .yes, .fragmentation),
      try CleanLog("fork-4.9-entries-on-lines", .yes, .fragmentation),
      try CleanLog("fork-4.12-stalls", .yes, .fragmentation),
      try CleanLog("fork-5.10-arm64-without-block", .yes, .fragmentation),
      try CleanLog("fork-6.6-two-nodes", .yes, .fragmentation),
      try CleanLog("fork-4.14-memory-came-back", .yes, .other),
      try CleanLog("fork-3.18-arm-short", .yes, .shortage),
      try CleanLog("program-5.15-short-many-stacks", .no, .shortage),
      try CleanLog("program-5.4-64k-pages-only-cma", .no, .contiguousReserve),
      try CleanLog("program-2.6.34-without-mmu", .no, .fragmentation),
      try CleanLog("driver-4.19-only-cma", .no, .contiguousReserve),
      try CleanLog("driver-2.6.32-old-wording", .no, .fragmentation),
      try CleanLog("driver-2.4-oldest-wording", .no, .unknown),
      try CleanLog("driver-6.1-empty-zone", .no, .emptyZone),
      try CleanLog("buffer-4.4-without-block", .no, .fragmentation),
      try CleanLog("slab-4.9-without-block", .no, .fragmentation),
      try CleanLog("module-6.0-no-addresses", .no, .addressSpace),
      try CleanLog("file-system-3.2-no-addresses", .unknown, .addressSpace),
      try CleanLog("limit-of-pids", .unknown, .limit),
      try CleanLog("limit-of-memory-cgroup-5.4", .no, .limit),
      try CleanLog("limit-of-threads-words", .unknown, .limit, isKernel: false),
      try CleanLog("overflow-5.10-arm64", .yes, .overflow),
      try CleanLog("overflow-5.8-x86", .yes, .overflow),
    ]
  }
}
