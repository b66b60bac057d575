// What must hold of the verdicts on a kernel's log, whatever is in it.

import FuzzedReports

/// Reads a log as `kstacks doctor` does: verdicts have the figures that they rest on, evidence is of lines that there are, and
/// nothing that is written steers a terminal.
func judgeKernelLog(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
  let log = [UInt8](bytes)
  let report: FileReport
  do { report = try LineReader.examine(log) } catch {
    return try require(isOneLine("\(error)"), "what is no log is told in one line")
  }
  let lineCount = log.count { $0 == 0x0a } + 1
  let contradictions = report.contradictions(lineCount: lineCount)
  try require(contradictions.isEmpty, contradictions.joined(separator: "; "))
  let results = [(name: "log", report: report)]
  let text = DiagnosisText.text(report, name: "log")
  try require(text.utf8.allSatisfy { $0 == 0x0a || isPrintable($0) }, "no byte of a text steers a terminal")
  try require(isClosed(Array(DiagnosisJSON.text(results).utf8)), "the JSON is whole")
  let state = report.lastState ?? MemoryState()
  let metrics = MetricsText.text([(name: "log", state: state)])
  try require(metrics.hasSuffix("# EOF\n"), "the metrics are whole")
  for number in 0...report.failures.count { try judgeReplay(of: report, failure: number) }
}

/// What is replayed fits, and is usable where it is free.
private func judgeReplay(of report: FileReport, failure number: Int) throws(Finding) {
  let greatest: UInt64 = 1 << 30
  let plan: ReplayPlan
  do { plan = try ReplayPlan(report, failure: number, zone: nil, greatestMemory: greatest) } catch {
    return try require(isOneLine("\(error)"), "what cannot be replayed is told in one line")
  }
  try require(plan.memoryBytes <= greatest, "a machine for a replay is no larger than it may be")
  try require(
    zip(plan.usableBlocks, plan.freeBlocks).allSatisfy { $0 <= $1 }, "no more blocks are usable than free")
  try require(plan.freeBlocks.contains { $0 > 0 }, "what is replayed has free memory")
  try require(isOneLine(plan.summary), "what is replayed is told in one line")
}

private func isPrintable(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7f }

private func isOneLine(_ text: String) -> Bool { text.utf8.allSatisfy(isPrintable) }

/// Whether all strings and brackets of a JSON text end, in order, and no string has a byte that needs an escape.
private func isClosed(_ text: [UInt8]) -> Bool {
  var open: [UInt8] = []
  var isInString = false
  var isEscaped = false
  for byte in text {
    if isInString {
      if byte < 0x20 { return false }
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else if byte == UInt8(ascii: "\"") {
        isInString = false
      }
      continue
    }
    switch byte {
    case UInt8(ascii: "\""): isInString = true
    case UInt8(ascii: "["), UInt8(ascii: "{"): open.append(byte + 2)
    case UInt8(ascii: "]"), UInt8(ascii: "}"): if open.popLast() != byte { return false }
    default: break
    }
  }
  return open.isEmpty && !isInString
}
