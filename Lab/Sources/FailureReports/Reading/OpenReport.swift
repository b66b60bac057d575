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
  private var figures = FigureReader()
  /// Whether the kernel prints a trace and figures for it.
  private var hasOwnBody = true
  /// Whether the size that vmalloc wanted was printed, so that its page allocation failure comes next.
  private var hasVmallocSize = false
  /// Whether the search for addresses failed before for the same size, so that what is told next may be about either.
  var isOneOfRanges = false
  /// The thread that the trace is of.
  private var threadName: String?
  /// Why its figures are not believed, if they are not.
  private var distrust: String?

  static let mixed = "two reports are mixed"
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
    if let request { noteRange(request) }
    lastMicroseconds = message.microseconds
    self.before = before
    noteNodes(message.text.bytes)
  }

  /// The finished report, and the one before it that it has not used.
  consuming func finish() -> [AllocationReport] {
    var reader = figures
    reader.finishList(into: &report)
    if !hasPlausibleTrace || report.trace.isOfTwo { distrust = Self.mixed }
    if hasForeignLimit || hasForeignTrace { distrust = Self.mixed }
    if let reason = distrust ?? reader.contradiction { report.distrustFigures(reason) }
    dropForeignSlab()
    report.dropForeignReserves()
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
      return true
    }
    if continuesAddressRange(request, message) {
      guard var whole = report.request else { return false }
      whole.process = whole.process ?? request.process
      whole.mode = whole.mode ?? request.mode
      whole.order = whole.order ?? request.order
      report.request = whole
      noteRange(request)
      return true
    }
    if continuesStall(request) {
      report.continuedLine = request.line
      figures.beginAgain()
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
    // What has no figures of its own leaves none to be mixed up.
    guard report.request != nil, hasOwnBody, !isAtItsEnd else { return false }
    if let begin = report.microseconds, let time = message.microseconds {
      return time >= begin && time - begin < 100_000
    }
    return message.text.number - report.lastLine < 3
  }

  /// Whether all lists that belong to its zones have come, or its last lines.
  private var isAtItsEnd: Bool {
    if figures.isPastLists || report.endLine != nil { return true }
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

  /// Whether a request is for addresses too, for as many.
  func isSameRange(as request: Request) -> Bool {
    request.kind == .addressRange && report.request?.kind == .addressRange
      && request.size?.value == report.request?.size?.value
  }

  /// One failure to find addresses is reported first so, then as one of pages or of vmalloc.
  private func continuesAddressRange(_ request: Request, _ message: LogMessage) -> Bool {
    guard let earlier = report.request, earlier.kind == .addressRange, !report.hasMemoryFigures,
      !isOneOfRanges, report.trace.entries.isEmpty, isNear(message)
    else { return false }
    // Kernels before 5.12 tell it so in three lines, the last of them as a failure of single pages.
    if request.kind == .pageAllocation { return hasVmallocSize && request.order?.value == 0 }
    guard request.kind == .addressRange, let size = request.size?.value, let range = earlier.size?.value else {
      return false
    }
    // The range has a guard page more than the memory; a second range of that kind is another's.
    return (request.isInFull || request.isByVmalloc) && size <= range && range - size <= 65536
  }

  /// Notes whether the kernel prints more about a request than that it has failed.
  ///
  /// `vmap allocation for size …` is all that the search itself prints; a trace and figures are printed by vmalloc.
  private mutating func noteRange(_ request: Request) {
    hasOwnBody = request.isInFull
    if request.isByVmalloc { hasVmallocSize = true }
  }

  /// Whether the trace can be one of the request: vmalloc's failures come from functions of its own.
  private var hasPlausibleTrace: Bool {
    guard report.request?.kind == .addressRange, !report.trace.entries.isEmpty, !report.trace.isDamaged else {
      return true
    }
    return report.trace.entries.contains { entry in
      ["vmalloc", "vzalloc", "vmap", "vm_map", "vm_area", "module_alloc", "execmem", "ioremap"].contains {
        entry.name.contains($0)
      }
    }
  }

  /// Whether the limit of a control group is another report's.
  ///
  /// Where one is hit, few kernels print figures of the machine, and all print the group's functions in the trace.
  private var hasForeignLimit: Bool {
    guard report.limit?.kind == .memoryGroup, !Diagnosis.isGroupCharge(report) else { return false }
    return report.hasMemoryFigures || report.trace.entries.contains { $0.name.hasPrefix("__alloc_pages") }
  }

  /// Whether the trace ends in a fork, although the request may not wait, as a fork may, or is for a program's memory.
  private var hasForeignTrace: Bool {
    // Without an MMU the kernel prints no trace of it.
    if report.request?.kind == .processMemory { return !report.trace.entries.isEmpty }
    // Each kind of report has functions of its own that print it.
    let others: [String]
    switch report.request?.kind {
    case .pageAllocation: others = ["out_of_memory", "oom_kill_process"]
    case .outOfMemory: others = ["warn_alloc", "warn_alloc_failed"]
    default: others = []
    }
    if report.trace.entries.contains(where: { others.contains($0.name) }) { return true }
    guard let mode = report.request?.mode else { return false }
    if mode.isUntracked || mode.isAccountedAndZeroed, (1...3).contains(report.request?.order?.value ?? 0) {
      // Faults of programs ask for single pages, and for huge ones.
      let faults = [
        "do_anonymous_page", "handle_mm_fault", "do_fault", "do_swap_page", "do_wp_page", "filemap_fault",
      ]
      if report.trace.entries.contains(where: { faults.contains($0.name) }) { return true }
    }
    let isNoFork =
      !mode.names.isEmpty && (mode.mayWait == false || mode.isMovable)
      || report.request?.order?.value ?? 0 >= 5 && report.pageBytes ?? 4096 <= 4096
      || mode.isCompound && !report.trace.hasSlabAllocator
    return isNoFork && StackQuestion.byTrace(report.trace)?.0 == .yes
  }

  /// Drops what the slab allocator has said if it is about another request: its failures come from functions of its own.
  ///
  /// Where the first lines of a report are missing, it is all that tells the request.
  private mutating func dropForeignSlab() {
    guard let slab = report.slab, report.request?.kind != .slab else { return }
    let isOwn = report.trace.hasSlabAllocator
    let hasOtherOrder =
      slab.cache != nil && slab.order != nil && slab.order?.value != (report.request ?? slab).order?.value
    let isOnlyRequest = report.request == nil && StackQuestion.byTrace(report.trace)?.0 != .yes
    if !isOwn && !isOnlyRequest || hasOtherOrder {
      report.slab = nil
    } else if report.request == nil {
      report.request = slab
      // Without a heading, what came before it may be about anything.
      if !isOwn && !figures.hasHeading && report.hasMemoryFigures { report.distrustFigures(Self.mixed) }
    }
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
      || bytes.contains("emory") || bytes.contains("isolated_anon") || bytes.contains("Call")
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
      report.lastLine = text.joints.last?.number ?? text.number
    }
    return answer
  }

  private mutating func readBody(_ text: TextLine) -> Answer {
    guard hasOwnBody else { return Self.canBegin(with: text) ? .beginsAnother : .foreign }
    if report.request?.kind == .slab {
      // The slab allocator tells of its cache, and nothing else.
      if text.bytes.contains("object size"), readCache(text) { return .taken }
      return Self.canBegin(with: text) ? .beginsAnother : .foreign
    }
    var reader = figures
    let answer = reader.read(text, into: &report)
    figures = reader
    if case .foreign = answer { readOther(text) } else { return answer }
    return .taken
  }

  /// Reads what is no figure: versions, nodes, the trace, the end.
  private mutating func readOther(_ text: TextLine) {
    let bytes = text.bytes
    if bytes.contains("ainted") || bytes.contains("Linux version") || bytes.contains("omm:") {
      return readVersion(text)
    }
    if bytes.contains("cpuset=") || bytes.contains("mems_allowed=") { return noteNodes(bytes) }
    if bytes.contains("object size"), readCache(text) { return }
    if bytes.contains("Call Trace:") || bytes.contains("Call trace:") { return report.trace.noteHeading() }
    if !report.hasMemoryFigures {
      if report.trace.add(text) { return }
    } else if !figures.isPastLists && report.endLine == nil
      || !report.trace.hasFunctions && report.request != nil,
      bytes.contains("+0x"), Trace.isEntry(text)
    {
      // The trace comes before the figures.
      distrust = Self.mixed
    }
    if bytes.contains("deadlocked on memory") || bytes.contains("Out of memory")
      || bytes.contains("Out of Memory")
    {
      report.endLine = text.number
    }
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
    // It comes before the figures.
    if report.hasMemoryFigures, !figures.isPastLists, report.endLine == nil, report.continuedLine == nil {
      distrust = Self.mixed
    }
    if threadName != nil && threadName != name { distrust = Self.mixed }
    threadName = name
    if let process = report.request?.process, !process.hasPrefix(name), text.joints.isEmpty {
      distrust = Self.mixed
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
      let first = digits.index
      // Where it was wrapped, one number cannot be told from two.
      if let number = digits.number(), number < 19, !text.hasJoint(in: first + 1...digits.index) {
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
