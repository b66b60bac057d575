// Verdicts in words.

/// Writes verdicts for people.
package enum DiagnosisText {
  /// How many failures of a file are shown in full; of the rest, only the sentences are counted.
  private static let greatestFullCount = 20

  /// The text on one file.
  package static func text(_ report: FileReport, name: String) -> String {
    if report.failures.isEmpty { return reading(report, name: name) }
    var blocks: [String] = []
    for failure in report.failures.prefix(greatestFullCount) { blocks.append(text(failure, name: name)) }
    let rest = report.failures.dropFirst(greatestFullCount)
    if !rest.isEmpty { blocks.append(summary(Array(rest), name: name)) }
    return blocks.joined(separator: "\n")
  }

  private static func text(_ failure: Failure, name: String) -> String {
    var lines = [failure.sentence]
    lines.append(
      "  Report:     \(name), line \(failure.line)\(failure.count > 1 ? ", \(Size.grouped(UInt64(failure.count))) times" : "")"
    )
    lines.append("  Verdict:    \(verdict(failure))")
    if failure.hasVerdict { lines.append("  Can act:    \(failure.actor)") }
    lines += list("Helps", failure.helps.map(\.words))
    lines += list("Helps not", failure.helpsNot.map(\.words))
    lines += list("Needed", failure.missing)
    if !failure.evidence.isEmpty {
      lines.append("  Evidence:")
      let width = failure.evidence.map { "\($0.line ?? 0)".count }.max() ?? 1
      for evidence in failure.evidence {
        let number = evidence.line.map(String.init) ?? "-"
        lines.append(
          "    line " + String(repeating: " ", count: max(0, width - number.count))
            + "\(number)  \(evidence.text)")
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func list(_ title: String, _ entries: [String]) -> [String] {
    entries.enumerated().map { index, entry in
      let label = index == 0 ? "\(title):" : ""
      return "  " + label + String(repeating: " ", count: 12 - label.count) + entry
    }
  }

  private static func verdict(_ failure: Failure) -> String {
    let stack =
      switch failure.threadStack {
      case .yes: "a thread's stack"
      case .no: "not a thread's stack"
      case .unknown: "perhaps a thread's stack"
      }
    let cause =
      switch failure.cause {
      case .fragmentation: "free memory is in pieces"
      case .shortage: "memory is short"
      case .contiguousReserve: "what is free is reserved"
      case .emptyZone: "the zone is empty"
      case .limit: "a limit"
      case .addressSpace: "addresses ran out"
      case .overflow: "the stack overflowed"
      case .other: "no lack of memory in the report"
      case .unknown: "no verdict"
      }
    return failure.cause == .overflow || failure.cause == .limit ? cause : "\(stack); \(cause)"
  }

  /// What many more failures of a file have in common.
  private static func summary(_ failures: [Failure], name: String) -> String {
    var counts: [(verdict: String, count: Int, first: Int)] = []
    for failure in failures {
      let words = verdict(failure)
      if let index = counts.firstIndex(where: { $0.verdict == words }) {
        counts[index].count += failure.count
      } else {
        counts.append((words, failure.count, failure.line))
      }
    }
    var lines = ["\(Size.grouped(UInt64(failures.count))) more failures in \(name):"]
    for entry in counts {
      lines.append("  \(Size.grouped(UInt64(entry.count))): \(entry.verdict) (first at line \(entry.first))")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  // MARK: Readings

  private static func reading(_ report: FileReport, name: String) -> String {
    guard let last = report.snapshots.last else {
      return "\(name): a kernel's log without a failed allocation\n"
    }
    let state = MemoryState(last)
    var lines = [ReadingWords.sentence(state, name: name)]
    lines.append(
      "  Reading:    \(name), line \(last.line)\(report.snapshots.count > 1 ? ", the last of \(report.snapshots.count)" : "")"
    )
    for zone in state.zones { lines.append("  line \(zone.line)  \(ReadingWords.blocks(zone))") }
    if let stacks = ReadingWords.stacks(state) { lines.append("  \(stacks)") }
    if let first = report.snapshots.first, report.snapshots.count > 1 {
      lines += ReadingWords.development(from: MemoryState(first), to: state).map { "  \($0)" }
    }
    for damage in report.damages { lines.append("  line \(damage.line)  not used: \(damage.what)") }
    return lines.joined(separator: "\n") + "\n"
  }
}
