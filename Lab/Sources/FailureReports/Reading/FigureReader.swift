// The figures of a report: a summary in pages, nodes and zones with what they keep, and the lists of free blocks.

/// Reads the figures of one report, in the order in which kernels print them.
///
/// First comes the summary, then the figures of all nodes and zones, then the lists of all zones, then swap and totals.
struct FigureReader {
  /// Why the figures are not believed, if they are not.
  private(set) var contradiction: String?
  /// Whether the last lines have come, so that more figures are those of another report.
  private(set) var isPastLists = false
  /// A list whose end has not come.
  private var list: FreeListLine.Parts?
  /// The node that the message before has named, and nothing else.
  private var pendingNode: Int?
  /// The zone whose figures came last, so that its reserve comes next.
  private var zoneOfReserve: Int?
  /// Whether the line that figures begin with has come.
  private(set) var hasHeading = false
  /// Whether the summary's own figure has come.
  private var hasSummary = false
  /// Nodes whose own figures have come.
  private var describedNodes: Set<Int> = []
  /// Whether zones and lists have their nodes in front; a kernel prints all so, or none.
  private var hasNodes: Bool?
  /// Whether the last figures that came were those of a zone, believed or not.
  private var isBehindZone = false
  /// How many zones the reserves are for.
  private var reserveCount: Int?

  /// Takes a message; the answer is `foreign` where it has no figures.
  mutating func read(_ text: TextLine, into report: inout AllocationReport) -> OpenReport.Answer {
    let bytes = text.bytes
    noteHeading(bytes, report)
    if !text.joints.isEmpty, ZoneLine.count(in: bytes) + FreeListLine.count(in: bytes) > 1 {
      contradiction = "lines have run together"
    }
    if bytes.contains("kB") || bytes.contains("KB") || bytes.contains("empty") || bytes.contains("*")
      || bytes.contains(":")
    {
      if readList(text, into: &report) { return .taken }
      let answer = readZone(text, into: &report)
      guard case .foreign = answer else { return answer }
    }
    readNode(text, into: &report)
    if readReserve(text, into: &report) { return .taken }
    if bytes.contains("free:") || bytes.contains("free_cma:") { readSummary(text, into: &report) }
    if bytes.contains("pages RAM") || bytes.contains("pages of RAM") { isPastLists = true }
    return .foreign
  }

  /// Makes ready for the figures of an out-of-memory report that follow those of a stall.
  mutating func beginAgain() {
    isPastLists = false
    hasHeading = false
    hasSummary = false
    describedNodes = []
    list = nil
  }

  /// Two reports have two headings and two summaries, and those come before the figures of zones.
  private mutating func noteHeading(_ bytes: [UInt8], _ report: AllocationReport) {
    if bytes.contains("Mem-Info:") || bytes.contains("Mem-info:") {
      if hasHeading || report.hasMemoryFigures { contradiction = OpenReport.mixed }
      hasHeading = true
    } else if bytes.contains("active_anon:"), bytes.contains("isolated_anon:"), !bytes.contains("kB") {
      if hasSummary || report.hasMemoryFigures { contradiction = OpenReport.mixed }
      hasSummary = true
    } else if bytes.contains("slab_unreclaimable:") || bytes.contains("bounce:"), !bytes.contains("kB"),
      report.hasMemoryFigures
    {
      contradiction = OpenReport.mixed
    }
  }

  private mutating func readZone(_ text: TextLine, into report: inout AllocationReport) -> OpenReport.Answer {
    switch ZoneLine.read(text, pendingNode: pendingNode) {
    case .absent: return .foreign
    case .damaged(let damage):
      report.hasMemoryFigures = true
      report.damages.append(damage)
      zoneOfReserve = nil
      isBehindZone = true
    case .read(let zone):
      let known = report.zones.firstIndex { $0.name == zone.name && $0.node == zone.node }
      if known != nil, report.request == nil || isPastLists, !report.lists.isEmpty { return .beginsAnother }
      report.hasMemoryFigures = true
      // Kernels print the figures of all zones before the first list.
      if !report.lists.isEmpty { contradiction = "the lists stand before the figures of the zones" }
      let conflict = "the figures of zone \(zone.name) (two that differ)"
      noteNode(zone.node)
      zoneOfReserve = nil
      isBehindZone = true
      if let known {
        // Two descriptions of one zone: two reports are mixed, and nothing of them is believed.
        if report.zones[known].free.value != zone.free.value { contradiction = OpenReport.mixed }
        report.zones.remove(at: known)
        report.damages.append(Damage(line: zone.line, what: conflict, zone: zone.name))
      } else if !report.damages.contains(where: { $0.what == conflict }) {
        report.zones.append(zone)
        zoneOfReserve = report.zones.count - 1
        if let node = zone.node { report.namedNodes.insert(node) }
      }
      pendingNode = nil
    }
    return .taken
  }

  private mutating func readList(_ text: TextLine, into report: inout AllocationReport) -> Bool {
    if var parts = list, FreeListLine.extend(&parts, with: text) {
      list = parts
      if parts.total != nil { finishList(into: &report) }
      return true
    }
    guard let parts = FreeListLine.begin(text, pendingNode: pendingNode) else { return false }
    finishList(into: &report)
    report.hasMemoryFigures = true
    list = parts
    pendingNode = nil
    zoneOfReserve = nil
    if parts.total != nil || parts.fault != nil { finishList(into: &report) }
    return true
  }

  mutating func finishList(into report: inout AllocationReport) {
    guard let parts = list else { return }
    list = nil
    // The first entry of any list is of single pages, wherever the list is cut off.
    if let first = parts.sizes.first, report.listedPageBytes == nil { report.listedPageBytes = first }
    switch FreeListLine.finish(parts) {
    case .absent: break
    case .damaged(let damage): report.damages.append(damage)
    case .read(let list):
      let conflict = "the free list of zone \(list.zone) (two that differ)"
      if let known = report.lists.firstIndex(where: { $0.zone == list.zone && $0.node == list.node }) {
        if report.lists[known].orders != list.orders {
          contradiction = OpenReport.mixed
          report.lists.remove(at: known)
          report.damages.append(Damage(line: list.line, what: conflict, zone: list.zone))
        }
      } else if !report.damages.contains(where: { $0.what == conflict }) {
        report.lists.append(list)
      }
      if let node = list.node { report.namedNodes.insert(node) }
      noteNode(list.node)
    }
  }

  private mutating func noteNode(_ node: Int?) {
    if let hasNodes, hasNodes != (node != nil) { contradiction = OpenReport.mixed }
    hasNodes = node != nil
  }

  private mutating func readNode(_ text: TextLine, into report: inout AllocationReport) {
    pendingNode = nil
    var scanner = ByteScanner(text.bytes)
    scanner.skipBlanks()
    guard scanner.take("Node ") else { return }
    scanner.skipBlanks()
    guard let number = scanner.number(), number < 4096 else { return }
    let node = Int(number)
    report.namedNodes.insert(node)
    scanner.skipBlanks()
    // The figures of all nodes come once, before those of the first zone.
    if scanner.bytes.has("active_anon:", at: scanner.index),
      !report.zones.isEmpty || !describedNodes.insert(node).inserted
    {
      contradiction = OpenReport.mixed
    }
    pendingNode = scanner.isAtEnd ? node : nil
    guard text.bytes.contains("kernel_stack:") else { return }
    for field in Field.all(in: text)
    where text.bytes.text(field.name) == "kernel_stack" && field.unit == .kilobytes && field.value < 1 << 36 {
      report.stacksOfNodes[node] = Figure(
        value: field.value << 10, line: text.number(at: field.name.lowerBound))
    }
  }

  /// Reads `lowmem_reserve[]: 0 3405 7866 7866`, which belongs to the zone above it.
  private mutating func readReserve(_ text: TextLine, into report: inout AllocationReport) -> Bool {
    guard text.bytes.contains("reserve[") || text.bytes.contains("protections["),
      let place = text.bytes.offset(of: "[]:")
    else { return false }
    // A reserve without its zone: there was one more.
    if !isBehindZone { report.hasReserveOfNoZone = true }
    isBehindZone = false
    guard let zone = zoneOfReserve else { return true }
    zoneOfReserve = nil
    var scanner = ByteScanner(text.bytes, at: place + 3)
    var values: [UInt64] = []
    // Where it was wrapped, one number cannot be told from two.
    if text.joints.contains(where: { $0.offset > place + 3 }) { return true }
    scanner.skipBlanks()
    while let value = scanner.amount() {
      values.append(value)
      scanner.skipBlanks()
    }
    // The zone's own entry is 0, and what is kept from higher zones adds up.
    guard scanner.isAtEnd, !values.isEmpty, values.count <= 6, values.first == 0, values == values.sorted()
    else { return true }
    // A kernel has one number of zones.
    if let count = reserveCount, count != values.count { contradiction = OpenReport.mixed }
    reserveCount = values.count
    report.zones[zone].lowmemReserve = values
    report.zones[zone].reserveLine = text.number(at: place)
    return true
  }

  /// Reads `free:5053 free_pcp:0 free_cma:1697`.
  private mutating func readSummary(_ text: TextLine, into report: inout AllocationReport) {
    for field in Field.all(in: text) where field.unit == .plain && field.value < 1 << 36 {
      let figure = Figure(value: field.value, line: text.number(at: field.name.lowerBound))
      switch text.bytes.text(field.name) {
      case "free" where report.freePages == nil: report.freePages = figure
      case "free_cma" where report.freeContiguousPages == nil: report.freeContiguousPages = figure
      default: break
      }
    }
  }
}
