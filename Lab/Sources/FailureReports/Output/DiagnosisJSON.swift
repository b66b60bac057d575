// Verdicts as data.

/// The result for scripts: an array with one object per file.
package enum DiagnosisJSON {
  /// The text for `files`, in order.
  package static func text(_ files: [(name: String, report: FileReport)]) -> String {
    var json = JSONText()
    json.raw("[")
    for (index, file) in files.enumerated() {
      if index > 0 { json.raw(",") }
      json.raw("\n{")
      json.member("file", isFirst: true) { $0.string(file.name) }
      json.member("kind", file.report.isFailure || file.report.snapshots.isEmpty ? "failure" : "reading")
      json.member("failures") { write(file.report.failures, to: &$0) }
      if let last = file.report.snapshots.last {
        json.member("reading") { write(MemoryState(last), line: last.line, to: &$0) }
      }
      json.raw("\n}")
    }
    json.raw("\n]\n")
    return json.text
  }

  /// The text for a reading of a running machine, with the failures that its kernel has logged.
  package static func text(_ reading: LiveReading, name: String) -> String {
    var json = JSONText()
    json.raw("[\n{")
    json.member("file", isFirst: true) { $0.string(name) }
    json.member("kind", "reading")
    json.member("failures") { write(reading.log?.failures ?? [], to: &$0) }
    json.member("reading") { write(reading.state, line: 0, to: &$0) }
    json.member("sentence", LiveText.sentence(reading))
    json.member("nextForkFails") { $0.raw("\(reading.nextForkFails)") }
    json.member("stackBytes", reading.stackBytes)
    json.member("contiguousStacks", reading.contiguousStacks)
    json.member("singlePageStacks") { $0.raw(reading.configuration.hasMappedStacks.map { "\($0)" } ?? "null") }
    json.member("limits") { json in
      json.raw("[")
      for (index, limit) in reading.limits.enumerated() {
        if index > 0 { json.raw(", ") }
        json.raw("{\"name\": ")
        json.string(limit.name)
        json.raw(", \"used\": \(limit.used.map { "\($0)" } ?? "null"), \"limit\": \(limit.limit)}")
      }
      json.raw("]")
    }
    json.member("notRead") { $0.strings(reading.gaps) }
    json.raw("\n}\n]\n")
    return json.text
  }

  private static func write(_ failures: [Failure], to json: inout JSONText) {
    json.raw("[")
    for (index, failure) in failures.enumerated() {
      if index > 0 { json.raw(",") }
      write(failure, to: &json)
    }
    json.raw("]")
  }

  private static func write(_ failure: Failure, to json: inout JSONText) {
    json.raw("\n{")
    json.member("line", isFirst: true) { $0.raw("\(failure.line)") }
    json.member("threadStack", failure.threadStack.rawValue)
    json.member("cause", failure.cause.rawValue)
    json.member("order", failure.order)
    json.member("requestedBytes", failure.requestedBytes)
    json.member("node", failure.node)
    json.member("zone", failure.zone)
    json.member("freeBytes", failure.freeBytes)
    json.member("usableFreeBytes", failure.usableFreeBytes)
    json.member("largestFreeBlockBytes", failure.largestFreeBlockBytes)
    json.member("largestUsableBlockBytes", failure.largestUsableBlockBytes)
    json.member("singleFreePages", failure.singleFreePages)
    json.member("pageBytes", failure.pageBytes)
    json.member("stackBytes", failure.stackBytes)
    json.member("helps") { $0.strings(failure.helps.map(\.rawValue)) }
    json.member("helpsNot") { $0.strings(failure.helpsNot.map(\.rawValue)) }
    json.member("sentence", failure.sentence)
    json.member("missing") { $0.strings(failure.missing) }
    json.member("process", failure.process)
    json.member("count", failure.count)
    json.member("evidence") { json in
      json.raw("[")
      for (index, evidence) in failure.evidence.enumerated() {
        if index > 0 { json.raw(", ") }
        json.raw("{\"line\": \(evidence.line.map(String.init) ?? "null"), \"text\": ")
        json.string(evidence.text)
        json.raw("}")
      }
      json.raw("]")
    }
    json.raw("\n}")
  }

  private static func write(_ state: MemoryState, line: Int, to json: inout JSONText) {
    json.raw(
      "{\"line\": \(line), \"kernelStackBytes\": \(state.kernelStackBytes.map { "\($0)" } ?? "null"), \"zones\": ["
    )
    for (index, zone) in state.zones.enumerated() {
      if index > 0 { json.raw(", ") }
      json.raw("{\"node\": \(zone.node), \"zone\": ")
      json.string(zone.zone)
      json.raw(", \"freeBytes\": \(zone.free), \"largestFreeBlockBytes\": \(zone.largestBlock)")
      json.raw(", \"largestUsableBlockBytes\": \(zone.isExact ? "\(zone.largestUsableBlock)" : "null")")
      json.raw(", \"freeBlocks\": [\(zone.counts.map { "\($0)" }.joined(separator: ", "))]}")
    }
    json.raw("]}")
  }
}
