// From reports to verdicts.

/// Judges the reports of one file; each may use what the others say of the same machine.
struct Diagnosis {
  private let reports: [AllocationReport]
  private let fileVersion: KernelVersion?
  /// The page sizes of each kernel's lists.
  private var pageSizes: [KernelVersion: Set<UInt64>] = [:]

  init(_ reports: [AllocationReport]) {
    self.reports = reports
    let versions = Set(reports.compactMap(\.version).map(\.description))
    fileVersion = versions.count == 1 ? reports.lazy.compactMap(\.version).first : nil
    for report in reports {
      if let version = report.version, let size = report.pageBytes {
        pageSizes[version, default: []].insert(size)
      }
    }
  }

  /// The page size that other reports of the same kernel have.
  private func pageBytes(ofOthersLike report: AllocationReport) -> UInt64? {
    guard let version = report.version, let sizes = pageSizes[version] else { return nil }
    return sizes.count == 1 ? sizes.first : nil
  }

  /// The verdicts, in the order of the file.
  func failures() -> [Failure] {
    let onlyWords = reports.contains { $0.request?.kind != .fork }
    var result: [Failure] = []
    for (index, report) in reports.enumerated() {
      // What a program says of its fork adds nothing where the kernel has said why.
      if onlyWords && report.request?.kind == .fork { continue }
      for var failure in judge(report, index: index) {
        failure.report = index
        if let last = result.indices.last, Self.isRepetition(failure, of: result[last]) {
          result[last].count += failure.count
        } else if let last = result.indices.last, index > 0, Self.isTail(reports[index - 1], of: report),
          result[last].cause == .limit
        {
          // The end of an earlier report of the same kind, whose beginning is missing.
          var whole = failure
          whole.count += result[last].count
          whole.evidence += result[last].evidence
          result[last] = whole
        } else {
          result.append(failure)
        }
      }
    }
    return result
  }

  /// Whether a report is nothing but the last lines of one about a control group, as the next one is.
  private static func isTail(_ report: AllocationReport, of next: AllocationReport) -> Bool {
    report.request == nil && report.limit?.kind == .memoryGroup && next.request != nil
      && (next.limit?.kind == .memoryGroup || isGroupCharge(next))
  }

  /// Whether two failures of one file differ in nothing but the line.
  private static func isRepetition(_ failure: Failure, of other: Failure) -> Bool {
    guard failure.cause == other.cause, failure.threadStack == other.threadStack, failure.cause != .overflow,
      failure.freeBytes == nil, other.freeBytes == nil
    else { return false }
    return failure.sentence == other.sentence
  }

  /// The verdict on a report: one, or one for each overflow in it.
  private func judge(_ report: AllocationReport, index: Int) -> [Failure] {
    if !report.overflows.isEmpty { return report.overflows.map { OverflowVerdict.failure($0, report) } }
    if let limit = report.limit, limit.kind != .nodes { return [limitFailure(limit, report)] }
    var failure = base(report)
    let question = StackQuestion.answer(report)
    failure.threadStack = question.0
    if let evidence = question.1 { failure.evidence.append(evidence) }
    if Self.isGroupCharge(report) {
      let line = report.trace.entries.first { Self.groupChargers.contains($0.name) }?.line ?? report.firstLine
      return [limitFailure(Limit(kind: .memoryGroup, line: line), report)]
    }
    let rules = rules(for: report, failure)
    let assessments = assess(report, index: index, rules)
    var verdict = Verdict(report: report, rules: rules, assessments: assessments, failure: failure)
    verdict.decide()
    return [verdict.failure]
  }

  /// What a failure has of its report whatever the verdict is.
  private func base(_ report: AllocationReport) -> Failure {
    var failure = Failure(line: report.request?.line ?? report.firstLine)
    let request = report.request ?? report.slab
    failure.process = request?.process
    failure.pageBytes = report.pageBytes ?? (report.lists.isEmpty ? pageBytes(ofOthersLike: report) : nil)
    if let order = request?.order {
      failure.order = Int(order.value)
      failure.requestedBytes = failure.pageBytes.map { $0 << order.value }
    }
    if let size = request?.size {
      failure.requestedBytes = size.value
      if request?.kind == .processMemory, let page = failure.pageBytes {
        failure.order = Self.order(of: size.value, page: page)
      }
    }
    if let request, request.kind != .fork {
      var parts = ["the request"]
      if let order = request.order { parts.append("order \(order.value)") }
      if let size = request.size { parts.append("\(size.value) bytes") }
      if let mode = request.mode { parts.append("mode \(mode.description)") }
      failure.evidence.append(
        Evidence(line: request.line, text: parts[0] + ": " + parts.dropFirst().joined(separator: ", ")))
    }
    if let version = report.version {
      failure.evidence.append(Evidence(line: report.versionLine, text: "kernel \(version)"))
    }
    return failure
  }

  /// The smallest order whose blocks hold `bytes`.
  static func order(of bytes: UInt64, page: UInt64) -> Int {
    var order = 0
    while page << UInt64(order) < bytes, order < 40 { order += 1 }
    return order
  }

  /// Whether the trace shows that a control group's limit was hit.
  static func isGroupCharge(_ report: AllocationReport) -> Bool {
    guard report.request?.kind == .outOfMemory else { return false }
    return report.trace.entries.contains { groupChargers.contains($0.name) }
  }

  private static let groupChargers: Set<String> = [
    "mem_cgroup_out_of_memory", "mem_cgroup_oom", "try_charge", "try_charge_memcg",
    "mem_cgroup_oom_synchronize",
  ]

  private func limitFailure(_ limit: Limit, _ report: AllocationReport) -> Failure {
    var failure = base(report)
    failure.line = report.request?.line ?? limit.line
    failure.cause = .limit
    if report.request != nil {
      let question = StackQuestion.answer(report)
      failure.threadStack = question.0
      if let evidence = question.1 { failure.evidence.append(evidence) }
    }
    failure.count = limit.count
    LimitVerdict.complete(&failure, limit)
    return failure
  }

  // MARK: Zones

  private func rules(for report: AllocationReport, _ failure: Failure) -> RequestRules {
    // A file may be of two machines: the contiguous allocator came with 3.5, names of flags with 4.6.
    let hasNames = (report.request ?? report.slab)?.mode?.names.isEmpty == false
    let isNew = mentionsContiguous(report) || hasNames
    let oldest = KernelVersion(major: 3, minor: 5)
    let version = report.version ?? fileVersion.flatMap { isNew && $0 < oldest ? nil : $0 }
    let letters = report.lists.reduce(into: MigrateTypes()) { set, list in
      for order in list.orders { set.formUnion(order.types ?? []) }
    }
    var perOrder: Bool?
    if let version {
      perOrder = version < KernelVersion(major: 4, minor: 4)
    } else if letters.contains(.reserve) {
      perOrder = true
    } else if letters.contains(.highAtomic) || report.request?.mode?.names.isEmpty == false {
      perOrder = false
    }
    let hasLetters = !letters.isEmpty
    // Letters came with 3.9, the contiguous allocator with 3.5.
    let isOld =
      version.map { $0 < oldest } ?? (!hasLetters && !report.lists.isEmpty && !isNew)
    return RequestRules(
      order: failure.order ?? 0, mode: (report.request ?? report.slab)?.mode ?? report.slab?.mode,
      highestZone: highestZone(report), pageBytes: failure.pageBytes,
      perOrder: perOrder ?? (isOld ? true : nil), lettersAbsent: isOld,
      hasNoContiguous: report.freeContiguousPages?.value == 0
        || version.map { $0 < oldest } ?? false,
      names: Set(report.zones.map(\.name) + report.lists.map(\.zone) + report.damages.compactMap(\.zone)),
      mayLackZones: report.mayLackZones)
  }

  private func mentionsContiguous(_ report: AllocationReport) -> Bool {
    report.freeContiguousPages != nil || report.zones.contains { $0.cma != nil }
  }

  private func highestZone(_ report: AllocationReport) -> String {
    guard let request = report.request else { return report.slab?.mode?.highestZone ?? "Normal" }
    if request.kind == .processMemory { return "HighMem" }
    return (request.mode ?? report.slab?.mode)?.highestZone ?? "Normal"
  }

  /// All zones that may serve the request, the preferred ones first.
  private func assess(_ report: AllocationReport, index: Int, _ rules: RequestRules) -> [ZoneAssessment] {
    var places: [(name: String, node: Int?)] = []
    func add(_ name: String, _ node: Int?) {
      if !places.contains(where: { $0.name == name && ($0.node == node || $0.node == nil || node == nil) }) {
        places.append((name, node))
      }
    }
    for zone in report.zones { add(zone.name, zone.node) }
    for list in report.lists { add(list.zone, list.node) }
    for damage in report.damages { if let zone = damage.zone { add(zone, nil) } }
    let allowed = places.filter { place in
      ZoneName.rank(place.name) <= ZoneName.rank(rules.highestZone)
        && (place.node == nil || report.allowedNodes == nil || report.allowedNodes!.contains(place.node!))
    }
    return allowed.map { place in
      let zone = report.zones.first { $0.name == place.name && ($0.node == place.node || place.node == nil) }
      let list = report.lists.first {
        $0.zone == place.name && ($0.node == place.node || place.node == nil || $0.node == nil)
      }
      var assessment = rules.assess(
        zone.map { withReserve($0, before: index) } ?? zoneOfEqualList(list, before: index), list,
        name: place.name, node: place.node ?? onlyNode(report))
      if zone == nil, assessment.zone != nil { assessment.zone?.node = place.node }
      return assessment
    }.sorted { (ZoneName.rank($0.name), $1.node ?? 0) > (ZoneName.rank($1.name), $0.node ?? 0) }
  }

  /// A zone whose reserve was not printed or is cut off, with the one that an earlier report of the file has.
  ///
  /// Watermarks and reserves change together, so those of a zone with the same watermark are its own.
  private func withReserve(_ zone: Zone, before index: Int) -> Zone {
    guard zone.lowmemReserve.isEmpty else { return zone }
    for report in reports[..<index].reversed().prefix(8) {
      for other in report.zones
      where other.name == zone.name && other.node == zone.node && !other.lowmemReserve.isEmpty
        && other.min.value == zone.min.value && other.managed?.value == zone.managed?.value
      {
        var complete = zone
        complete.lowmemReserve = other.lowmemReserve
        complete.reserveLine = other.reserveLine
        return complete
      }
    }
    return zone
  }

  /// The only node that a report names.
  private func onlyNode(_ report: AllocationReport) -> Int? {
    report.namedNodes.count == 1 ? report.namedNodes.first : nil
  }

  /// The figures of a zone that an earlier report of the file has printed with the very same free blocks.
  private func zoneOfEqualList(_ list: FreeList?, before index: Int) -> Zone? {
    guard let list, list.sum > 0 else { return nil }
    for report in reports[..<index].reversed().prefix(8) {
      guard
        report.lists.contains(where: {
          $0.zone == list.zone && $0.node == list.node && $0.orders == list.orders
        })
      else { continue }
      return report.zones.first { $0.name == list.zone && $0.node == list.node }
    }
    return nil
  }
}
