// What is wrong about verdicts on a damaged log: they may say less than those on the clean log, and nothing else.

import FailureReports

/// The comparison of the verdicts on damaged logs with those on the clean ones.
struct VerdictComparison {
  let logs: [CleanLog]

  /// What is wrong about the doctor's report on a damaged log; empty if nothing is.
  func faults(of report: FileReport, on damaged: DamagedLog) -> [String] {
    report.failures.compactMap { failure in
      guard let fault = fault(of: failure, on: damaged) else { return nil }
      return "line \(failure.line): \(fault): \(failure.sentence)"
    }
  }

  private func fault(of failure: Failure, on damaged: DamagedLog) -> String? {
    guard damaged.origins.indices.contains(failure.line - 1) else { return "there is no such line" }
    let sources = damaged.origins[failure.line - 1].sorted()
    if sources.isEmpty { return failure.hasVerdict ? "a verdict on another message" : nil }
    var faults: [String] = []
    for source in sources {
      for clean in logs[source].verdicts {
        guard let fault = difference(failure, clean, logs[source], others: damaged.sources) else { return nil }
        faults.append("\(fault) (\(logs[source].name))")
      }
    }
    return faults.first
  }

  /// What a verdict says that the one on the clean log does not, or `nil`.
  private func difference(
    _ failure: Failure, _ clean: Failure, _ log: CleanLog, others: [Int]
  ) -> String? {
    if failure.threadStack != .unknown && failure.threadStack != clean.threadStack {
      return "stack \(failure.threadStack), not \(clean.threadStack)"
    }
    guard failure.hasVerdict else { return nil }
    if failure.cause != clean.cause { return "\(failure.cause), not \(clean.cause)" }
    func differs<T: Equatable>(_ a: T?, _ b: T?) -> Bool { a != nil && a != b }
    if differs(failure.order, clean.order) { return "order \(failure.order!), not \(clean.order ?? -1)" }
    // A file is of one machine: what one report does not tell may be known from another.
    let pages = others.flatMap { logs[$0].verdicts }.compactMap(\.pageBytes)
    if differs(failure.pageBytes, clean.pageBytes),
      clean.pageBytes != nil || !pages.contains(failure.pageBytes!)
    {
      return "another page size"
    }
    if let size = failure.requestedBytes, size != clean.requestedBytes, !log.names(size: size) {
      let isKnown = clean.requestedBytes == nil && pages.contains { $0 << UInt64(failure.order ?? 63) == size }
      if !isKnown { return "another size" }
    }
    if differs(failure.stackBytes, clean.stackBytes) { return "another size of stacks" }
    if let zone = failure.zone, failure.freeBytes != nil {
      let places = log.reports.flatMap { Self.places(of: $0) }
      let place = Place(
        zone: zone, node: failure.node, free: failure.freeBytes, largest: failure.largestFreeBlockBytes,
        single: failure.singleFreePages)
      guard places.contains(where: { place.agrees(with: $0) }) else { return "figures of no zone: \(place)" }
    }
    let more = Set(failure.helps.map(\.rawValue)).subtracting(clean.helps.map(\.rawValue))
    if !more.isEmpty { return "would help: \(more.sorted())" }
    let less = Set(failure.helpsNot.map(\.rawValue)).subtracting(clean.helpsNot.map(\.rawValue))
    return less.isEmpty ? nil : "would not help: \(less.sorted())"
  }

  /// A zone's figures in a clean log.
  private struct Place {
    var zone: String
    var node: Int?
    var free: UInt64?
    var largest: UInt64?
    var single: UInt64?

    /// Whether it says nothing else than another place.
    func agrees(with other: Place) -> Bool {
      zone == other.zone && (node == nil || other.node == nil || node == other.node)
        && (free == nil || free == other.free) && (largest == nil || largest == other.largest)
        && (single == nil || single == other.single)
    }
  }

  private static func places(of report: AllocationReport) -> [Place] {
    var result: [Place] = []
    for zone in report.zones {
      let list = report.lists.first { $0.zone == zone.name && $0.node == zone.node }
      result.append(
        Place(
          zone: zone.name, node: zone.node, free: zone.free.value, largest: list?.largestBlockBytes,
          single: list?.orders.first?.count))
    }
    for list in report.lists {
      // Where the zone's own line is missing, the list's total is what is known of its free memory.
      result.append(
        Place(
          zone: list.zone, node: list.node, free: list.total, largest: list.largestBlockBytes,
          single: list.orders.first?.count))
    }
    return result
  }
}
