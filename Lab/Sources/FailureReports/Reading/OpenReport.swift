// A report while it is being printed.

/// Takes the messages of one report, in order.
///
/// Kernels print a report in a fixed order: the request, the trace, the figures of all nodes and zones, then the free lists of
/// all zones, then swap and totals. What comes in another order is of another report, or not believed.
struct OpenReport {
  /// What became of a message.
  enum Answer {
    /// It is no part of a report.
    case foreign
    /// It belongs to this report.
    case taken
    /// It begins the figures of another report.
    case beginsAnother
  }

  private(set) var report: AllocationReport
  /// When the last message of the report was printed.
  private(set) var lastMicroseconds: UInt64?
  /// A report without a first line that came right before, for a request that may have no figures of its own.
  private var before: AllocationReport?
  /// A list whose end has not come.
  private var list: FreeListLine.Parts?
  /// The node that the message before has named, and nothing else.
  private var pendingNode: Int?
  /// The zone whose figures came last, so that its reserve comes next.
  private var zoneOfReserve: Int?
  /// Whether the last lines have come, so that more figures are those of another report.
  private var isPastLists = false
  /// The thread that the trace is of.
  private var threadName: String?
  /// Why its figures are not believed, if they are not.
  private var distrust: String?

  private static let mixed = "two reports are mixed"
  /// The longest pause within a report, in microseconds: serial consoles are slow.
  private static let longestPause: UInt64 = 15_000_000
  /// How far messages of several CPUs may be out of order, in microseconds.
  private static let disorder: UInt64 = 200

  /// A report that a request begins, or figures do whose request is missing.
  init(_ request: Request?, at message: LogMessage, after before: AllocationReport? = nil) {
    report = AllocationReport(firstLine: request?.line ?? message.text.number)
    report.request = request
    report.microseconds = message.microseconds
    if request?.kind == .slab { report.slab = request }
    lastMicroseconds = message.microseconds
    self.before = before
    noteNodes(message.text.bytes)
  }

  /// The finished report, and the one before it that it has not used.
  consuming func finish() -> [AllocationReport] {
    finishList()
    if let distrust { report.distrustFigures(distrust) }
    guard let before else { return [report] }
    if report.hasMemoryFigures { return [before, report] }
    // A program that is refused memory without an MMU asks again at once: the figures are those of the same request.
    report.zones = before.zones
    report.lists = before.lists
    report.damages = before.damages
    report.hasMemoryFigures = true
    report.hasFiguresOfReportBefore = true
    return [report]
  }

  // MARK: Further requests

  /// Takes a request that is about the same failure; returns whether it is.
  mutating func take(_ request: Request, at message: LogMessage) -> Bool {
    if request.kind == .slab, isNear(message) {
      report.slab = request
      if report.request == nil { report.request = request }
      return true
    }
    if continuesAddressRange(request, message) {
      guard var whole = report.request else { return false }
      whole.process = whole.process ?? request.process
      whole.mode = whole.mode ?? request.mode
      whole.order = whole.order ?? request.order
      report.request = whole
      return true
    }
    if continuesStall(request) {
      report.continuedLine = request.line
      isPastLists = false
      list = nil
      return true
    }
    return false
  }

  /// Marks the figures as not to be believed.
  mutating func distrustFigures(_ reason: String) { distrust = reason }

  /// Whether figures that come now could belong to it and to a request that follows it.
  ///
  /// Kernels leave figures out where they come too often, but never print them again so soon.
  func isInterrupted(by message: LogMessage) -> Bool {
    guard report.request != nil, !isAtItsEnd else { return false }
    if let begin = report.microseconds, let time = message.microseconds {
      return time >= begin && time - begin < 100_000
    }
    return message.text.number - report.lastLine < 3
  }

  /// Whether all lists that belong to its zones have come, or its last lines.
  private var isAtItsEnd: Bool {
    if isPastLists || report.endLine != nil { return true }
    return !report.zones.isEmpty
      && report.zones.allSatisfy { zone in
        report.lists.contains { $0.zone == zone.name && $0.node == zone.node }
      }
  }

  /// Whether a message may belong to it by its time: if not, a part is missing, or lines were turned round.
  func mayContinue(with message: LogMessage) -> Bool {
    guard let last = lastMicroseconds, let time = message.microseconds else { return true }
    return time &+ Self.disorder >= last && time <= last &+ Self.longestPause
  }

  /// Notes a limit that an out-of-memory report names; returns whether it belongs to it.
  mutating func take(_ limit: Limit, at message: LogMessage) -> Bool {
    guard report.request?.kind == .outOfMemory, limit.kind == .memoryGroup || limit.kind == .nodes,
      mayContinue(with: message)
    else { return false }
    if report.limit == nil { report.limit = limit }
    report.endLine = limit.line
    return true
  }

  /// One failure to find addresses is reported first so, then as one of pages or of vmalloc.
  private func continuesAddressRange(_ request: Request, _ message: LogMessage) -> Bool {
    guard let earlier = report.request, earlier.kind == .addressRange, !report.hasMemoryFigures,
      report.trace.entries.isEmpty, isNear(message)
    else { return false }
    if request.kind == .pageAllocation { return true }
    // The range has a guard page more than the memory.
    return request.kind == .addressRange && (request.size?.value ?? 0) <= (earlier.size?.value ?? 0)
  }

  /// An out-of-memory report is about the request that has stalled: same thread, order and mode.
  private func continuesStall(_ request: Request) -> Bool {
    guard let earlier = report.request, earlier.kind == .stall, request.kind == .outOfMemory else {
      return false
    }
    return earlier.process == request.process && earlier.order?.value == request.order?.value
      && earlier.order != nil && earlier.mode?.bits == request.mode?.bits
  }

  /// Whether a message comes within two seconds of the beginning, if times are printed.
  private func isNear(_ message: LogMessage) -> Bool {
    guard let begin = report.microseconds, let time = message.microseconds else { return true }
    return time >= begin && time - begin < 2_000_000
  }

  // MARK: The body

  /// Whether a message may be a part of a report at all; most lines of a log are not.
  static func mayTake(_ bytes: [UInt8]) -> Bool {
    bytes.contains("kB") || bytes.contains("+") || bytes.contains("[") || bytes.contains("free:")
      || bytes.contains("(") || bytes.contains("pages") || bytes.contains("Mem-") || bytes.contains("ainted")
      || bytes.contains("omm:") || bytes.contains("Node ") || bytes.contains("cpuset=") || bytes.contains("*")
      || bytes.contains(" from ") || bytes.contains("empty") || bytes.contains("object size")
      || bytes.contains("emory")
  }

  /// Whether a message can begin a report whose request is missing.
  static func canBegin(with text: TextLine) -> Bool {
    let bytes = text.bytes
    if bytes.contains("Mem-") { return bytes.contains("Mem-Info:") || bytes.contains("Mem-info:") }
    if bytes.contains(phrase: "Out of memory: Kill") || bytes.contains(phrase: "Out of Memory: Kill") {
      return true
    }
    guard bytes.contains("kB") else { return false }
    if case .absent = ZoneLine.read(text, pendingNode: nil) {
      return FreeListLine.begin(text, pendingNode: nil) != nil
    }
    return true
  }

  /// Takes a message.
  mutating func read(_ message: LogMessage) -> Answer {
    let text = message.text
    let answer = readBody(text)
    if case .taken = answer {
      lastMicroseconds = message.microseconds ?? lastMicroseconds
      report.lastLine = text.number
    }
    return answer
  }

  private mutating func readBody(_ text: TextLine) -> Answer {
    let bytes = text.bytes
    if bytes.contains("kB") || bytes.contains("KB") || bytes.contains("empty") || bytes.contains("*")
      || bytes.contains(":")
    {
      if readList(text) { return .taken }
      let answer = readZone(text)
      guard case .foreign = answer else { return answer }
    }
    readNode(text)
    if readReserve(text) { return .taken }
    if bytes.contains("ainted") || bytes.contains("Linux version") || bytes.contains("omm:") {
      readVersion(text)
      return .taken
    }
    if bytes.contains("cpuset=") || bytes.contains("mems_allowed=") {
      noteNodes(bytes)
      return .taken
    }
    if bytes.contains("object size"), readCache(text) { return .taken }
    if !report.hasMemoryFigures, report.trace.add(text) { return .taken }
    if bytes.contains("free:") || bytes.contains("free_cma:") { readSummary(text) }
    if bytes.contains("deadlocked on memory") || bytes.contains("Out of memory")
      || bytes.contains("Out of Memory")
    {
      report.endLine = text.number
    }
    if bytes.contains("pages RAM") || bytes.contains("pages of RAM") { isPastLists = true }
    return .taken
  }

  private mutating func readZone(_ text: TextLine) -> Answer {
    switch ZoneLine.read(text, pendingNode: pendingNode) {
    case .absent: return .foreign
    case .damaged(let damage):
      report.hasMemoryFigures = true
      report.damages.append(damage)
      zoneOfReserve = nil
    case .read(let zone):
      let known = report.zones.firstIndex { $0.name == zone.name && $0.node == zone.node }
      if known != nil, report.request == nil || isPastLists, !report.lists.isEmpty { return .beginsAnother }
      report.hasMemoryFigures = true
      // Kernels print the figures of all zones before the first list.
      if !report.lists.isEmpty { distrust = "the lists stand before the figures of the zones" }
      let conflict = "the figures of zone \(zone.name) (two that differ)"
      zoneOfReserve = nil
      if let known {
        // Two descriptions of one zone: two reports are mixed, and nothing of them is believed.
        if report.zones[known].free.value != zone.free.value { distrust = Self.mixed }
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

  private mutating func readList(_ text: TextLine) -> Bool {
    if var parts = list, FreeListLine.extend(&parts, with: text) {
      list = parts
      if parts.total != nil { finishList() }
      return true
    }
    guard let parts = FreeListLine.begin(text, pendingNode: pendingNode) else { return false }
    finishList()
    report.hasMemoryFigures = true
    list = parts
    pendingNode = nil
    zoneOfReserve = nil
    if parts.total != nil || parts.fault != nil { finishList() }
    return true
  }

  private mutating func finishList() {
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
          distrust = Self.mixed
          report.lists.remove(at: known)
          report.damages.append(Damage(line: list.line, what: conflict, zone: list.zone))
        }
      } else if !report.damages.contains(where: { $0.what == conflict }) {
        report.lists.append(list)
      }
      if let node = list.node { report.namedNodes.insert(node) }
    }
  }

  private mutating func readNode(_ text: TextLine) {
    pendingNode = nil
    var scanner = ByteScanner(text.bytes)
    scanner.skipBlanks()
    guard scanner.take("Node ") else { return }
    scanner.skipBlanks()
    guard let number = scanner.number(), number < 4096 else { return }
    let node = Int(number)
    report.namedNodes.insert(node)
    scanner.skipBlanks()
    pendingNode = scanner.isAtEnd ? node : nil
    guard text.bytes.contains("kernel_stack:") else { return }
    for field in Field.all(in: text)
    where text.bytes.text(field.name) == "kernel_stack" && field.unit == .kilobytes {
      report.stacksOfNodes[node] = Figure(
        value: field.value << 10, line: text.number(at: field.name.lowerBound))
    }
  }

  /// Reads `lowmem_reserve[]: 0 3405 7866 7866`, which belongs to the zone above it.
  private mutating func readReserve(_ text: TextLine) -> Bool {
    guard text.bytes.contains("reserve[") || text.bytes.contains("protections["),
      let place = text.bytes.offset(of: "[]:")
    else { return false }
    guard let zone = zoneOfReserve else { return true }
    zoneOfReserve = nil
    var scanner = ByteScanner(text.bytes, at: place + 3)
    var values: [UInt64] = []
    // Where it was wrapped, one number cannot be told from two.
    if text.joints.contains(where: { $0.offset > place }) { return true }
    scanner.skipBlanks()
    while let value = scanner.number() {
      values.append(value)
      scanner.skipBlanks()
    }
    // The zone's own entry is 0, and what is kept from higher zones adds up.
    guard scanner.isAtEnd, !values.isEmpty, values.count <= 6, values.first == 0, values == values.sorted()
    else { return true }
    report.zones[zone].lowmemReserve = values
    report.zones[zone].reserveLine = text.number(at: place)
    return true
  }

  private mutating func readVersion(_ text: TextLine) {
    noteThread(text)
    guard report.version == nil, let version = KernelVersion(in: text.bytes) else { return }
    report.version = version
    report.versionLine = text.number(at: text.bytes.offset(of: "ainted") ?? 0)
  }

  /// Compares the thread in `CPU: 1 PID: 2238 Comm: bash …` with the one that asked.
  private mutating func noteThread(_ text: TextLine) {
    let bytes = text.bytes
    guard let place = bytes.offset(of: "Comm:") ?? bytes.offset(of: "comm:"),
      bytes.offset(of: "PID:", before: place) != nil || bytes.offset(of: "Pid:", before: place) != nil,
      !bytes.contains("TGID")
    else { return }
    var scanner = ByteScanner(bytes, at: place + 5)
    scanner.skipBlanks()
    let word = scanner.run { $0 != .blank && $0 != UInt8(ascii: ",") }
    let name = bytes.text(word)
    if threadName != nil && threadName != name { distrust = Self.mixed }
    threadName = name
    if let process = report.request?.process, !process.hasPrefix(name), text.joints.isEmpty {
      distrust = Self.mixed
    }
  }

  /// Reads `free:5053 free_pcp:0 free_cma:1697`.
  private mutating func readSummary(_ text: TextLine) {
    for field in Field.all(in: text) where field.unit == .plain {
      let figure = Figure(value: field.value, line: text.number(at: field.name.lowerBound))
      switch text.bytes.text(field.name) {
      case "free" where report.freePages == nil: report.freePages = figure
      case "free_cma" where report.freeContiguousPages == nil: report.freeContiguousPages = figure
      default: break
      }
    }
  }

  /// Reads `cache: kmalloc-192, object size: 192, buffer size: 192, default order: 0, min order: 0`.
  private mutating func readCache(_ text: TextLine) -> Bool {
    let bytes = text.bytes
    guard report.slab != nil, report.slab?.cache == nil, let place = bytes.offset(of: "cache:") else {
      return false
    }
    var scanner = ByteScanner(bytes, at: place + 6)
    scanner.skipBlanks()
    let name = scanner.run { $0.isWord || $0 == UInt8(ascii: "-") }
    if scanner.take(UInt8(ascii: "(")) {
      // The control group that the cache belongs to.
      _ = scanner.run { $0 != UInt8(ascii: ")") }
      _ = scanner.take(UInt8(ascii: ")"))
    }
    guard !name.isEmpty, scanner.current == UInt8(ascii: ",") else { return false }
    report.slab?.cache = bytes.text(name)
    // The slab allocator falls back to the smallest order, so that is what has failed.
    if let found = bytes.offset(ofPhrase: "min order:") {
      var digits = ByteScanner(bytes, at: found + 10)
      digits.skipBlanks()
      if let number = digits.number(), number < 19 {
        report.slab?.order = Figure(value: number, line: text.number(at: found))
      }
    }
    if report.request?.kind == .slab { report.request = report.slab }
    return true
  }

  /// Reads `mems_allowed=0-3,5`.
  private mutating func noteNodes(_ bytes: [UInt8]) {
    guard let place = bytes.offset(of: "mems_allowed=") else { return }
    var scanner = ByteScanner(bytes, at: place + 13)
    var nodes: Set<Int> = []
    repeat {
      guard let low = scanner.number(), low < 4096 else { return }
      var high = low
      if scanner.take(UInt8(ascii: "-")) {
        guard let end = scanner.number(), end >= low, end < 4096 else { return }
        high = end
      }
      nodes.formUnion(Int(low)...Int(high))
    } while scanner.take(UInt8(ascii: ","))
    report.allowedNodes = nodes
  }
}
