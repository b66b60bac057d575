// From messages to reports.

/// Sorts the messages of a log into reports, one for each thread or CPU that prints at a time.
struct ReportReader {
  private var open: [String: OpenReport] = [:]
  /// The caller of the last message that belonged to a report.
  private var lastCaller = ""
  private var finished: [AllocationReport] = []
  private(set) var tables = TableReader()
  private let limits = LimitMessage()
  private var overflows = OverflowReader()
  /// Limits that came on lines of their own, by group, so that a thousand equal lines make one.
  private var limitReports: [String: Int] = [:]
  /// Whether a line looked like one of a kernel's.
  private(set) var hasKernelLines = false

  private static let greatestOpenCount = 16

  /// Takes a message.
  mutating func add(_ message: LogMessage) {
    let text = message.text
    if message.microseconds != nil { hasKernelLines = true }
    if text.bytes.count < 4 || addLimit(message) { return }
    if let report = overflows.takeFinished(before: message) { finished.append(report) }
    if let request = RequestLine.read(text) { return begin(request, message) }
    if overflows.add(message) { return }
    if tables.add(text) { return }
    guard OpenReport.mayTake(text.bytes) else { return }
    addToReport(message)
  }

  /// The reports, in the order in which they begin.
  mutating func finish() -> [AllocationReport] {
    for caller in open.keys.sorted() { close(caller) }
    if let report = overflows.finish() { finished.append(report) }
    return finished.sorted { $0.firstLine < $1.firstLine }
  }

  /// The tables of /proc, moment by moment.
  mutating func finishTables() -> [Snapshot] { tables.finish() }

  /// The stream that a message belongs to: continuation lines have no caller, and belong to the last one.
  private func stream(of message: LogMessage) -> String {
    guard let caller = message.caller else { return lastCaller }
    // A report whose first lines had no caller goes on where it was begun.
    if open[caller] == nil, open[lastCaller] != nil, lastCaller.isEmpty { return lastCaller }
    return caller
  }

  private mutating func addToReport(_ message: LogMessage) {
    let caller = stream(of: message)
    if let report = open[caller], !report.mayContinue(with: message) { close(caller) }
    if var report = open.removeValue(forKey: caller) {
      switch report.read(message) {
      case .taken:
        open[caller] = report
        lastCaller = caller
        return
      case .foreign:
        open[caller] = report
        return
      case .beginsAnother:
        finished += report.finish()
      }
    }
    guard OpenReport.canBegin(with: message.text) else { return }
    var report = OpenReport(nil, at: message)
    _ = report.read(message)
    open[caller] = report
    lastCaller = caller
  }

  private mutating func begin(_ request: Request, _ message: LogMessage) {
    let caller = message.caller ?? lastCaller
    var before: AllocationReport?
    var distrust: String?
    var isOneOfRanges = false
    if message.caller == nil && !lastCaller.isEmpty {
      distrust = "the line of the request has lost what printed it"
    }
    if var current = open.removeValue(forKey: caller) {
      if current.take(request, at: message) || request.kind == .fork {
        open[caller] = current
        return
      }
      if request.kind == .processMemory, current.report.request == nil {
        before = current.finish().last
      } else {
        if current.isInterrupted(by: message) {
          let reason = "another report began before this one had its figures"
          current.distrustFigures(reason)
          distrust = reason
        }
        isOneOfRanges = message.caller == nil && current.isSameRange(as: request)
        finished += current.finish()
      }
    }
    if open.count >= Self.greatestOpenCount,
      let oldest = open.min(by: { $0.value.report.firstLine < $1.value.report.firstLine })
    {
      close(oldest.key)
    }
    var report = OpenReport(request, at: message, after: before)
    report.isOneOfRanges = isOneOfRanges || Self.hasRestOfRange(message.text.bytes)
    if let distrust { report.distrustFigures(distrust) }
    open[caller] = report
    lastCaller = caller
    if request.kind == .fork { close(caller) }
  }

  /// Whether the end of another message about addresses stands behind one, whose own beginning is cut off.
  private static func hasRestOfRange(_ bytes: [UInt8]) -> Bool {
    guard let first = bytes.offset(ofPhrase: "increase size") else { return false }
    return bytes.offset(of: "ease size", from: first + 13) != nil
  }

  private mutating func close(_ caller: String) {
    guard let report = open.removeValue(forKey: caller) else { return }
    finished += report.finish()
  }

  private mutating func addLimit(_ message: LogMessage) -> Bool {
    guard LimitMessage.mayRead(message.text.bytes), let limit = limits.read(message.text) else { return false }
    let caller = stream(of: message)
    if open[caller]?.take(limit, at: message) ?? false || limit.kind == .nodes { return true }
    let key = limit.kind == .memoryGroup ? "memory" : "\(limit.kind) \(limit.group ?? "")"
    if let index = limitReports[key] {
      finished[index].limit?.count += 1
      if finished[index].limit?.group == nil { finished[index].limit?.group = limit.group }
      return true
    }
    var report = AllocationReport(firstLine: limit.line)
    report.limit = limit
    limitReports[key] = finished.count
    finished.append(report)
    return true
  }
}
