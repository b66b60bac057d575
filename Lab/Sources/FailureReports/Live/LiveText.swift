// The state of this machine in words.

/// Describes a live reading.
package enum LiveText {
  /// The whole text.
  package static func text(_ reading: LiveReading) -> String {
    var lines = [sentence(reading)]
    lines.append(
      "  Kernel:     \(reading.release), stacks of \(Size.text(reading.stackBytes)), \(stacks(reading))")
    if let words = ReadingWords.stacks(reading.state, stackBytes: reading.stackBytes) {
      lines.append("  Stacks:     \(words)")
    }
    for (index, zone) in reading.state.zones.enumerated() {
      let label = index == 0 ? "Free:" : ""
      lines.append("  " + label + String(repeating: " ", count: 12 - label.count) + ReadingWords.blocks(zone))
      lines.append("              \(fit(zone, reading.stackBytes))")
    }
    if let failed = reading.counters["compact_fail"]?.value,
      let stalled = reading.counters["compact_stall"]?.value
    {
      lines.append(
        "  Compaction: \(Size.grouped(stalled)) requests had to wait for it, and \(Size.grouped(failed)) of them in vain"
      )
    }
    for limit in reading.limits where limit.used != nil { lines.append("  Limit:      \(words(limit))") }
    for gap in reading.gaps { lines.append("  Not read:   \(gap)") }
    var text = lines.joined(separator: "\n") + "\n"
    if let log = reading.log, !log.failures.isEmpty {
      text += "\n" + DiagnosisText.text(log, name: "the kernel's log")
    }
    return text
  }

  /// The first line.
  package static func sentence(_ reading: LiveReading) -> String {
    let free = Size.text(reading.state.zones.reduce(0) { $0 &+ $1.free })
    let size = Size.text(reading.stackBytes)
    if let limit = reading.limits.first(where: \.isReached) {
      return "The next process will be refused: \(words(limit)), although \(free) of memory are free."
    }
    let fits = reading.contiguousStacks
    switch reading.configuration.hasMappedStacks {
    case true?:
      return
        "A fork needs no large piece of memory here, because this kernel makes stacks of single pages: \(free) are free."
    case false?:
      if fits == 0 {
        let largest = Size.text(reading.state.zones.map(\.largestUsableBlock).max() ?? 0)
        return
          "The next fork will fail: it needs \(size) of memory in one piece, and of the \(free) that are free no usable piece is larger than \(largest)."
      }
      return
        "Forks succeed for now: \(free) are free, and \(Size.counted(fits, "more kernel stack")) of \(size) in one piece can be made of them."
    case nil:
      return
        "\(free) are free, and \(Size.counted(fits, "kernel stack")) of \(size) in one piece could be made of them; whether this kernel needs such pieces is not known."
    }
  }

  /// A line of `--watch`.
  package static func watchLine(_ reading: LiveReading, time: String, since previous: MemoryState?) -> String {
    let free = Size.text(reading.state.zones.reduce(0) { $0 &+ $1.free })
    let largest = Size.text(reading.state.zones.map(\.largestUsableBlock).max() ?? 0)
    let stacks = reading.state.kernelStackBytes.map(Size.kilobytes) ?? "?"
    let threads = reading.state.threadCount.map(Size.grouped) ?? "?"
    let fewer = previous.map { change($0, reading) } ?? ""
    let limit = reading.nearLimits.first.map { "; near: \(words($0))" } ?? ""
    return
      "\(time)  free \(free), largest usable piece \(largest), contiguous stacks possible \(Size.grouped(reading.contiguousStacks)), stacks \(stacks), threads \(threads)\(fewer)\(limit)"
  }

  /// How free memory and threads have changed.
  private static func change(_ previous: MemoryState, _ reading: LiveReading) -> String {
    func signed(_ old: UInt64, _ new: UInt64, _ spell: (UInt64) -> String) -> String {
      new >= old ? "+\(spell(new - old))" : "−\(spell(old - new))"
    }
    let free = signed(
      previous.zones.reduce(0) { $0 &+ $1.free }, reading.state.zones.reduce(0) { $0 &+ $1.free }, Size.text)
    let threads = signed(previous.threadCount ?? 0, reading.state.threadCount ?? 0, Size.grouped)
    return " (free \(free), threads \(threads))"
  }

  private static func stacks(_ reading: LiveReading) -> String {
    let source = reading.configuration.source.map { " (\($0))" } ?? ""
    return switch reading.configuration.hasMappedStacks {
    case true?: "made of single pages\(source)"
    case false?: "each in one piece\(source)"
    case nil: "made in an unknown way"
    }
  }

  private static func fit(_ zone: ZoneState, _ stackBytes: UInt64) -> String {
    guard zone.servesKernel else { return "not used for kernel stacks" }
    let index = zone.unusableFreeIndex(order: Diagnosis.order(of: stackBytes, page: zone.pageBytes))
    let permille = UInt64((index * 1000).rounded())
    return
      "\(zone.isExact ? "" : "at most ")\(Size.counted(zone.contiguousStacks(of: stackBytes), "contiguous stack")); \(permille / 10).\(permille % 10) % of what is free is in smaller pieces"
  }

  private static func words(_ limit: LimitReading) -> String {
    func number(_ value: UInt64) -> String { limit.isMemory ? Size.text(value) : Size.grouped(value) }
    return "\(limit.used.map(number) ?? "an unknown number") of \(number(limit.limit)) \(limit.name)"
  }
}
