// The decision about one report, in a fixed order: addresses, zones that are empty, watermarks, blocks, single pages.

/// Decides why a request failed.
struct Verdict {
  let report: AllocationReport
  let rules: RequestRules
  let assessments: [ZoneAssessment]
  var failure: Failure

  mutating func decide() {
    if report.request?.isRefusedAlways == true {
      failure.cause = .other
    } else if report.request?.kind == .addressRange {
      failure.cause = .addressSpace
    } else if report.request?.isByHand == true {
      failure.cause = .other
    } else {
      decideByZones()
    }
    // Zones and nodes are never added together: figures are those of the zone that decides.
    let shown = decisive
    if let shown { describe(shown) }
    describeOthers(besides: shown)
    noteStackSize()
    noteDamages()
    Cures.choose(&failure, self, shown)
    Sentences.write(&failure, self, shown)
  }

  /// The zone that decides: of those that have refused for the cause, the one that the request would have used first.
  private var decisive: ZoneAssessment? {
    let withMemory = assessments.filter { $0.outcome != .empty }
    let typical: (ZoneAssessment) -> Bool =
      switch failure.cause {
      case .fragmentation: { $0.outcome == .noBlock || $0.outcome == .refusedBySmallBlocks }
      case .contiguousReserve: { $0.isShortByReserves }
      case .other: { $0.outcome == .served }
      default: { _ in false }
      }
    if let zone = withMemory.first(where: typical) { return zone }
    guard report.request != nil || report.slab != nil else {
      // Without a request: the only zone that is at its minimum, if others are not.
      let tight = assessments.filter { zone in
        zone.zone.map { figures in figures.low.map { figures.free.value < $0.value } ?? false } ?? false
      }
      if tight.count == 1 && assessments.count > 1 { return tight[0] }
      let known = withMemory.filter { $0.zone != nil || $0.list != nil }
      return known.count == 1 ? known[0] : nil
    }
    return withMemory.first ?? assessments.first
  }

  private mutating func decideByZones() {
    guard report.request != nil || report.slab != nil else {
      failure.missing.append(
        "the line that names the failed request (\"page allocation failure\" or \"invoked oom-killer\")")
      if report.lists.isEmpty {
        failure.missing.append("the free lists (\"Normal: 12*4kB (UM) 3*8kB … = 72kB\")")
      }
      return
    }
    if report.request?.kind == .fork {
      failure.missing = [
        "the kernel's log of that moment (dmesg)", "/proc/buddyinfo",
        "the limits: ulimit -u, kernel.pid_max, kernel.threads-max, pids.max and memory.max of the control group",
      ]
      return
    }
    guard failure.order != nil,
      report.request?.mode != nil || report.slab?.mode != nil || report.request?.kind == .processMemory
    else {
      if failure.order != nil {
        failure.missing.append("the mode of the request (\"mode:0x…\" or \"gfp_mask=0x…\")")
      }
      if failure.order == nil { failure.missing.append("the order of the request") }
      if assessments.isEmpty { askForFigures() }
      return
    }
    guard !assessments.isEmpty else {
      askForFigures()
      return
    }
    if assessments.allSatisfy({ $0.outcome == .empty }) {
      // Only requests for the lowest zones have no other to go to.
      if ZoneName.rank(rules.highestZone) < ZoneName.rank("Normal") {
        failure.cause = .emptyZone
      } else {
        failure.missing.append("the figures of the zones that have memory")
      }
      return
    }
    let zones = assessments.filter { $0.outcome != .empty }
    if let absent = absentZones() { failure.missing.append(absent) }
    if restrictsNodes(zones) { return }
    if zones.contains(where: { $0.outcome == .served }) {
      failure.missing = []
      failure.cause = .other
      return
    }
    for zone in zones where zone.outcome == .unknown { failure.missing += zone.missing }
    if !failure.missing.isEmpty { return }
    if zones.contains(where: { $0.outcome == .noBlock || $0.outcome == .refusedBySmallBlocks }) {
      failure.cause = .fragmentation
    } else if let zone = zones.first(where: { $0.outcome == .refused }) {
      failure.missing += zone.missing
    } else {
      failure.cause = isReserved(zones) ? .contiguousReserve : .shortage
    }
  }

  /// What is short would be enough with its reserves, and they are most of it.
  private func isReserved(_ zones: [ZoneAssessment]) -> Bool {
    zones.contains { zone in
      zone.isShortByReserves && zone.reserved >= (zone.free ?? 0) / 2
    }
  }

  /// With several nodes and unknown permission, a full node beside empty ones shows that the request was bound to it.
  private mutating func restrictsNodes(_ zones: [ZoneAssessment]) -> Bool {
    let nodes = Set(zones.compactMap(\.node))
    guard nodes.count > 1 else { return false }
    let tight = Set(
      zones.filter { $0.outcome == .short || $0.outcome == .noBlock || $0.outcome == .refused }.compactMap(
        \.node))
    let roomy = zones.contains { $0.outcome == .served }
    guard roomy, !tight.isEmpty else { return false }
    if report.limit?.kind == .nodes || report.request?.mode?.isForOneNode == true {
      failure.cause = .limit
      failure.helps = [.otherNode]
      return true
    }
    if report.allowedNodes == nil {
      failure.missing.append("the nodes that the request was allowed to use (mems_allowed)")
      return true
    }
    return false
  }

  private mutating func askForFigures() {
    failure.missing.append("the lines of the zones (free, min, low)")
    failure.missing.append("the free lists with their totals")
  }

  /// Whether reserves tell of zones whose lines are not there.
  private func absentZones() -> String? {
    if report.hasReserveOfNoZone { return "the figures of a zone of which only lowmem_reserve[] is there" }
    if let free = report.freePages, let page = failure.pageBytes,
      report.zones.allSatisfy({ $0.node == report.zones.first?.node })
    {
      let sum = report.zones.reduce(UInt64(0)) { $0 &+ $1.free.value }
      if sum < free.value &* page / 4 * 3 {
        return "the figures of other zones, which have most of the free memory"
      }
    }
    for zone in report.zones where !zone.lowmemReserve.isEmpty {
      let limits = ZoneOrder.indices(of: rules.highestZone, count: zone.lowmemReserve.count, names: rules.names)
      guard let limit = limits.min() else { continue }
      var higher = 0
      for index in 1..<max(1, min(limit + 1, zone.lowmemReserve.count))
      where zone.lowmemReserve[index] > zone.lowmemReserve[index - 1] { higher += 1 }
      let rank = ZoneName.rank(zone.name)
      let known = rules.names.filter {
        ZoneName.rank($0) > rank && ZoneName.rank($0) <= ZoneName.rank(rules.highestZone)
      }
      if known.count < higher { return "the figures of the zones above \(zone.name)" }
    }
    return nil
  }

  private mutating func describe(_ shown: ZoneAssessment) {
    failure.node = shown.node
    failure.zone = shown.name
    failure.freeBytes = shown.free
    failure.usableFreeBytes = shown.usable?.upperBound
    if let zone = shown.zone {
      failure.evidence.append(
        Evidence(
          line: zone.free.line,
          text:
            "\(shown.place): \(Size.kilobytes(zone.free.value)) free, watermark \(Size.kilobytes(zone.min.value))"
        ))
      if let cma = zone.cma, cma.value > 0 {
        failure.evidence.append(
          Evidence(
            line: cma.line,
            text: "\(Size.kilobytes(cma.value)) of that belong to the contiguous memory allocator (CMA)"))
      }
      if let line = zone.reserveLine, let required = shown.required, required > zone.min.value,
        !zone.lowmemReserve.isEmpty
      {
        failure.evidence.append(
          Evidence(
            line: line,
            text:
              "\(Size.kilobytes(required - Watermark.minimum(zone.min.value, for: rules.mode))) are kept from such requests (lowmem_reserve)"
          ))
      }
    }
    guard let list = shown.list, !list.orders.isEmpty else { return }
    failure.largestFreeBlockBytes = list.largestBlockBytes
    failure.largestUsableBlockBytes = list.largestUsableBlockBytes(lettersAbsent: rules.lettersAbsent)
    failure.singleFreePages = list.orders.first?.count
    if failure.usableFreeBytes == nil, list.hasLetters {
      failure.usableFreeBytes = list.orders.indices.reduce(UInt64(0)) {
        $0 &+ list.orders[$1].usable(lettersAbsent: rules.lettersAbsent).upperBound &* list.blockBytes($1)
      }
    }
    failure.evidence.append(
      Evidence(
        line: list.line,
        text:
          "free blocks: the largest has \(Size.text(list.largestBlockBytes)), the largest usable one \(failure.largestUsableBlockBytes.map(Size.text) ?? "an unknown size"), single pages: \(Size.grouped(list.orders.first?.count ?? 0))"
      ))
    if let zone = shown.zone,
      max(zone.free.value, list.total) - min(zone.free.value, list.total) > max(zone.free.value, list.total)
        / 20
    {
      failure.evidence.append(
        Evidence(
          line: list.line,
          text:
            "the list makes \(Size.kilobytes(list.total)), printed a moment later than the zone's \(Size.kilobytes(zone.free.value)): the watermark was compared with the zone's figure, the blocks are the list's"
        ))
    }
  }

  /// What the other zones had.
  private mutating func describeOthers(besides shown: ZoneAssessment?) {
    for other in assessments where other.place != shown?.place && other.outcome != .empty {
      guard let free = other.free else { continue }
      let outcome = report.request == nil && report.slab == nil ? "" : ", \(Self.words(other.outcome))"
      failure.evidence.append(
        Evidence(
          line: other.zone?.line ?? other.list?.line,
          text: "\(other.place): \(Size.kilobytes(free)) free\(outcome)"))
    }
    guard failure.order != nil else { return }
    for zone in report.zones
    where ZoneName.rank(zone.name) > ZoneName.rank(rules.highestZone) && zone.free.value > 0 {
      failure.evidence.append(
        Evidence(
          line: zone.free.line,
          text: "\(zone.place): \(Size.kilobytes(zone.free.value)) free, which do not serve such requests"))
    }
  }

  private static func words(_ outcome: ZoneOutcome) -> String {
    switch outcome {
    case .empty: "no memory"
    case .short: "too little for such a request"
    case .noBlock: "no usable block that is large enough"
    case .refusedBySmallBlocks: "nearly all in smaller blocks"
    case .refused: "no usable block that is large enough"
    case .served: "enough for the request"
    case .unknown: "not enough figures to tell"
    }
  }

  /// The size of the kernel's stacks, if the request was for one.
  private mutating func noteStackSize() {
    if failure.threadStack == .yes, let size = failure.requestedBytes, size <= 64 << 10, failure.order ?? 0 > 0
    {
      failure.stackBytes = size
    } else if let page = failure.pageBytes, page == 4096 {
      if report.trace.has32BitAddresses == true { failure.stackBytes = 8192 }
      if report.trace.has32BitAddresses == false, !report.trace.isDamaged, let version = report.version,
        version >= KernelVersion(major: 3, minor: 15)
      {
        failure.stackBytes = 16384
      }
    }
  }

  private mutating func noteDamages() {
    for damage in report.damages {
      failure.evidence.append(Evidence(line: damage.line, text: "not used: \(damage.what)"))
    }
    if report.hasFiguresOfReportBefore {
      failure.evidence.append(
        Evidence(
          line: nil, text: "figures and lists are those of the report before, whose first line is missing"))
    }
    if let line = report.continuedLine {
      failure.evidence.append(Evidence(line: line, text: "the same request ends in the OOM killer"))
    }
    if let line = report.endLine {
      failure.evidence.append(Evidence(line: line, text: "the kernel's decision"))
    }
  }

  /// Kernel stacks of the zone that decides, or of its node, or of all zones.
  func stackMemory(_ shown: ZoneAssessment?) -> Figure? {
    if let own = shown?.zone?.kernelStack, own.value > 0 { return own }
    if let node = shown?.node, let figure = report.stacksOfNodes[node] { return figure }
    return report.zones.compactMap(\.kernelStack).max { $0.value < $1.value }
  }
}
