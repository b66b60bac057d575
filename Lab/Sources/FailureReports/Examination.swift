// A file, read from its first byte to its last.

/// What a file has told.
package struct FileReport: Sendable {
  /// The verdicts, in the order of the file.
  package var failures: [Failure]
  /// Readings of memory that no failure has caused.
  package var snapshots: [Snapshot]
  /// What of the readings was not believed.
  package var damages: [Damage]
  /// The facts behind the verdicts.
  package var reports: [AllocationReport]
  /// Whether any line looked like one of a kernel's.
  package var hasKernelLines: Bool

  /// The free memory at the last moment that the file tells of, if it does.
  package var lastState: MemoryState? {
    if let snapshot = snapshots.last, failures.isEmpty || reports.allSatisfy(\.lists.isEmpty) {
      return MemoryState(snapshot)
    }
    return reports.last { !$0.lists.isEmpty }.map { MemoryState($0) }
  }

  /// Whether there is a failure, and not only a reading.
  package var isFailure: Bool { !failures.isEmpty }
}

/// Reads a log or a table line by line.
package struct Examination {
  private var text: LogText
  private var reader = ReportReader()
  /// Messages that have become complete.
  private var messages: [LogMessage] = []

  /// An examination of a text that begins with `sample`.
  package init(sample: [UInt8]) { text = LogText(sample: sample) }

  /// Takes a line of the file.
  package mutating func add(_ line: TextLine) {
    text.add(line, to: &messages)
    readMessages()
  }

  private mutating func readMessages() {
    for message in messages { reader.add(message) }
    messages.removeAll(keepingCapacity: true)
  }

  /// The verdicts.
  package mutating func finish() -> FileReport {
    text.finish(to: &messages)
    readMessages()
    let reports = reader.finish()
    let snapshots = reader.finishTables()
    var failures = Diagnosis(reports).failures()
    if let memory = snapshots.last, let stacks = ReadingWords.stacks(MemoryState(memory)) {
      let line = memory.memory["KernelStack"]?.line
      for index in failures.indices where !failures[index].hasVerdict {
        failures[index].evidence.append(Evidence(line: line, text: stacks))
      }
    }
    return FileReport(
      failures: failures, snapshots: snapshots, damages: reader.tables.damages, reports: reports,
      hasKernelLines: reader.hasKernelLines || !reports.isEmpty)
  }
}
