// What helps in a case, and what would not.

/// Chooses cures by the cause and by the figures of the case.
enum Cures {
  /// From this share of a zone on, kernel stacks are a part of the shortage.
  private static let notableStackShare: UInt64 = 20

  static func choose(_ failure: inout Failure, _ verdict: Verdict, _ shown: ZoneAssessment?) {
    let stacks = stackShare(verdict, shown)
    let growing = stacks.map { $0.zone > 0 && $0.stacks >= $0.zone / notableStackShare }
    let reclaim = reclaimHelps(verdict, shown)
    switch failure.cause {
    case .fragmentation:
      if failure.threadStack == .yes {
        failure.helps = [.singlePageStacks, .growingStacks]
        failure.add(.reclaim, helps: reclaim)
        if hasReservedBlock(verdict) { failure.helps.append(.smallerReserve) }
        failure.helpsNot += [.moreMemory, .raiseLimit]
      } else {
        failure.add(.reclaim, helps: reclaim)
        if hasReservedBlock(verdict) { failure.helps.append(.smallerReserve) }
        if failure.threadStack == .no { failure.helpsNot += [.singlePageStacks, .growingStacks] }
        failure.helpsNot.append(.moreMemory)
      }
    case .shortage:
      failure.helps = [.moreMemory]
      failure.add(.reclaim, helps: reclaim)
      if verdict.assessments.contains(where: { $0.isShortByReserves && $0.reserved > 0 }) {
        failure.helps.append(.smallerReserve)
      }
      failure.add(.growingStacks, helps: growing)
      failure.helpsNot.append(.singlePageStacks)
    case .contiguousReserve:
      failure.helps = [.smallerReserve]
      failure.helpsNot = [.singlePageStacks, .growingStacks, .moreMemory]
    case .emptyZone:
      failure.helpsNot = [.moreMemory, .reclaim, .singlePageStacks, .growingStacks]
    case .limit:
      if failure.helps.isEmpty { failure.helps = [.raiseLimit] }
      failure.helpsNot = [.moreMemory, .reclaim, .singlePageStacks, .growingStacks]
    case .addressSpace:
      failure.helps = [.addressSpace]
      failure.helpsNot = [.moreMemory, .reclaim, .singlePageStacks, .growingStacks]
    case .other where verdict.report.request?.isRefusedAlways == true:
      failure.helpsNot = [.moreMemory, .reclaim, .addressSpace, .singlePageStacks, .growingStacks]
    case .other:
      if growing == true { failure.helps.append(.growingStacks) }
      if verdict.report.request?.isByHand != true, failure.order ?? 0 > 0 { failure.helps.append(.moreMemory) }
      if failure.threadStack == .yes { failure.helpsNot.append(.singlePageStacks) }
    case .overflow:
      failure.helps = [.fixOverflow]
      failure.helpsNot = [.moreMemory, .reclaim]
    case .unknown:
      break
    }
    failure.actor = actor(failure)
    if verdict.report.request?.isRefusedAlways == true {
      failure.actor = "the developers of the kernel or the driver, which asked for it"
    }
    if let stacks, growing == true || stacks.stacks >= 64 << 20,
      failure.cause == .shortage || failure.cause == .other
    {
      let size = failure.stackBytes ?? 16384
      failure.evidence.append(
        Evidence(
          line: stacks.line,
          text:
            "kernel stacks take \(Size.kilobytes(stacks.stacks)) (\(Size.grouped(stacks.stacks / size)) of \(Size.text(size))), \(share(stacks.stacks, of: stacks.zone)) of the \(stacks.isNode ? "node" : "zone")"
        ))
    }
  }

  /// Whether enough could be given back to matter; `nil` where the figures of a zone are not all there.
  private static func reclaimHelps(_ verdict: Verdict, _ shown: ZoneAssessment?) -> Bool? {
    let known = verdict.assessments.compactMap { $0.zone?.reclaimable?.value }.max() ?? 0
    if known >= 16 << 20 || known >= (shown?.zone?.managed?.value ?? .max) / 20 { return true }
    let lacks = verdict.assessments.contains { $0.outcome != .empty && $0.zone?.hasAllReclaimable != true }
    return lacks || verdict.report.mayLackZones ? nil : false
  }

  /// `6.2 %`.
  static func share(_ part: UInt64, of whole: UInt64) -> String {
    guard whole > 0 else { return "an unknown share" }
    let tenths = (part &* 1000 &+ whole / 2) / whole
    return "\(tenths / 10).\(tenths % 10) %"
  }

  private static func stackShare(_ verdict: Verdict, _ shown: ZoneAssessment?) -> (
    stacks: UInt64, zone: UInt64, line: Int, isNode: Bool
  )? {
    if let zone = shown?.zone, let own = zone.kernelStack, own.value > 0,
      let size = zone.managed ?? zone.present
    {
      return (own.value, size.value, own.line, false)
    }
    if let node = shown?.node, let stacks = verdict.report.stacksOfNodes[node] {
      let size = verdict.report.zones.filter { $0.node == node }.reduce(UInt64(0)) {
        $0 + (($1.managed ?? $1.present)?.value ?? 0)
      }
      return stacks.value <= size ? (stacks.value, size, stacks.line, true) : nil
    }
    return nil
  }

  /// Whether a block of a reserve would have been large enough in a zone that has enough memory with its reserves.
  private static func hasReservedBlock(_ verdict: Verdict) -> Bool {
    verdict.assessments.contains { zone in
      guard let list = zone.list, let figures = zone.zone, let required = zone.required,
        figures.free.value > required
      else { return false }
      return list.orders.indices.contains {
        $0 >= verdict.rules.order && list.orders[$0].types?.contains(.contiguous) ?? false
      }
    }
  }

  /// Who can change it.
  private static func actor(_ failure: Failure) -> String {
    switch failure.cause {
    case .fragmentation:
      failure.threadStack == .yes
        ? "the kernel's configuration: how it makes stacks"
        : "the driver or the kernel that asks for so large a block"
    case .shortage: "the machine's owner: more memory, or fewer and smaller programs"
    case .contiguousReserve: "the kernel's command line (cma=) or the device tree, which reserve the memory"
    case .emptyZone:
      "the kernel's configuration or the driver, which asks for memory of a zone that the machine does not have"
    case .limit: "the container or the account: its limit"
    case .addressSpace: "the kernel's configuration or command line: the size of its address range"
    case .overflow: "the developers of the kernel or the driver: its code needs more stack than there is"
    case .other: "the report does not show one"
    case .unknown: "unknown"
    }
  }
}

extension Failure {
  /// Counts a cure among those that help or those that don't, if that is known.
  fileprivate mutating func add(_ cure: Cure, helps isHelp: Bool?) {
    guard let isHelp else { return }
    if isHelp { helps.append(cure) } else { helpsNot.append(cure) }
  }
}
