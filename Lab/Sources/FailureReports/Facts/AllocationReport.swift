// Everything that one report says, before anything is concluded from it.

/// The facts of one report.
package struct AllocationReport: Sendable {
  /// What was asked for; `nil` where the line that says so is missing.
  package var request: Request?
  /// The slab cache that wanted the memory, if the slab allocator reports it too.
  package var slab: Request?
  /// The zones whose figures are believed.
  package var zones: [Zone] = []
  /// The free lists whose total is right.
  package var lists: [FreeList] = []
  /// What is cut off, tangled or contradictory.
  package var damages: [Damage] = []
  package var trace = Trace()
  /// The kernel's version, and the line that has it.
  package var version: KernelVersion?
  package var versionLine: Int?
  /// The limit that refused the request.
  package var limit: Limit?
  /// Nodes that the request was allowed to use, if printed.
  package var allowedNodes: Set<Int>?
  /// Free pages of all zones, as the summary has them.
  package var freePages: Figure?
  /// Free pages of the contiguous memory allocator, as the summary has them.
  package var freeContiguousPages: Figure?
  /// Kernel stacks by node, in bytes; printed since 5.9.
  package var stacksOfNodes: [Int: Figure] = [:]
  /// Nodes that any line has named.
  package var namedNodes: Set<Int> = []
  /// The overflows of kernel stacks that the report is about.
  package var overflows: [StackOverflow] = []
  /// Lines of the file.
  package var firstLine: Int
  /// When it began, in microseconds since boot.
  package var microseconds: UInt64?
  /// The last line that belongs to it.
  var lastLine: Int
  /// The line in which the kernel says that it kills, or cannot go on.
  package var endLine: Int?
  /// Whether figures and lists were printed at all, whole or not.
  package var hasMemoryFigures = false
  /// The line of an out-of-memory report that continues a stall, if there was one.
  package var continuedLine: Int?
  /// Whether a reserve came whose zone did not.
  var hasReserveOfNoZone = false
  /// The size of the first entry of the first list, whole or not.
  var listedPageBytes: UInt64?
  /// Whether zones and lists are those of the report before, whose own first line is missing.
  package var hasFiguresOfReportBefore = false

  init(firstLine: Int) {
    self.firstLine = firstLine
    lastLine = firstLine
  }

  /// Takes all figures back, because they may be those of another report.
  mutating func distrustFigures(_ reason: String) {
    trace = Trace()
    trace.isDamaged = true
    version = nil
    limit = nil
    listedPageBytes = nil
    if zones.isEmpty && lists.isEmpty { return }
    damages.append(
      Damage(line: zones.first?.line ?? lists.first?.line ?? firstLine, what: "all figures (\(reason))"))
    for name in Set(zones.map(\.name) + lists.map(\.zone)).sorted() {
      damages.append(Damage(line: firstLine, what: "the figures of zone \(name)", zone: name))
    }
    zones = []
    lists = []
    freePages = nil
    freeContiguousPages = nil
  }

  /// The list of a zone.
  func list(of zone: Zone) -> FreeList? {
    lists.first { $0.zone == zone.name && ($0.node ?? zone.node) == (zone.node ?? $0.node) }
  }

  /// Takes back reserves that cannot be those of their zones: where a higher zone has memory, some is kept from its requests.
  mutating func dropForeignReserves() {
    // The last number of the only reserve may be cut, unless it stands there twice.
    let known = zones.indices.filter { !zones[$0].lowmemReserve.isEmpty }
    if known.count == 1, let last = zones[known[0]].lowmemReserve.last,
      last != zones[known[0]].lowmemReserve.dropLast().last ?? 0
    {
      zones[known[0]].lowmemReserve = []
    }
    for index in zones.indices where zones[index].lowmemReserve.allSatisfy({ $0 == 0 }) {
      let rank = ZoneName.rank(zones[index].name)
      func isHigher(_ name: String) -> Bool {
        ZoneName.rank(name) > rank && ZoneName.rank(name) <= ZoneName.rank("Normal")
      }
      let node = zones[index].node
      let hasHigher =
        zones.contains { isHigher($0.name) && $0.node == node && $0.free.value > 0 }
        || lists.contains { isHigher($0.zone) && $0.node == node && $0.total > 0 }
        || damages.contains { $0.zone.map(isHigher) ?? false } || hasHigherByReserves(zones[index])
      if hasHigher { zones[index].lowmemReserve = [] }
    }
  }

  /// Whether a lower zone's reserve tells of memory above a zone: it grows with each zone above that has some.
  private func hasHigherByReserves(_ zone: Zone) -> Bool {
    zones.contains { lower in
      guard lower.node == zone.node, ZoneName.rank(lower.name) < ZoneName.rank(zone.name) else { return false }
      let reserve = lower.lowmemReserve
      let steps = reserve.indices.dropFirst().count { reserve[$0] > reserve[$0 - 1] }
      let between = ZoneName.rank(lower.name)...ZoneName.rank(zone.name)
      let known = zones.count { $0.node == zone.node && between.dropFirst().contains(ZoneName.rank($0.name)) }
      return steps > known
    }
  }

  /// Whether zones may have been printed whose figures are not there.
  ///
  /// The lists are printed after the figures of all zones, and the summary before them has the sum of what is free.
  var mayLackZones: Bool {
    if hasReserveOfNoZone { return true }
    if damages.contains(where: { damage in
      damage.zone.map { name in !zones.contains { $0.name == name } } ?? false
    }) {
      return true
    }
    if let free = freePages {
      let sum = zones.reduce(UInt64(0)) { $0 &+ $1.free.value }
      return sum < free.value &* (pageBytes ?? 4096) / 4 * 3
    }
    return lists.isEmpty
  }

  /// The page size, if the lists agree on one.
  var pageBytes: UInt64? {
    let sizes = Set(lists.compactMap { $0.orders.isEmpty ? nil : $0.pageBytes })
    if sizes.isEmpty { return [4096, 16384, 65536].first { $0 == listedPageBytes } }
    return sizes.count == 1 ? sizes.first : nil
  }
}
