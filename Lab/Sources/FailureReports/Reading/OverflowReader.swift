// Overflows of kernel stacks, gathered from several messages.

/// Puts the messages about overflows together, also where two CPUs print at once.
struct OverflowReader {
  private var open: AllocationReport?
  private let messages = OverflowMessage()
  private static let greatestDistance = 100

  /// The report that has its end behind it, if there is one.
  mutating func takeFinished(before message: LogMessage) -> AllocationReport? {
    guard let report = open,
      message.text.number > report.firstLine + Self.greatestDistance * report.overflows.count
    else { return nil }
    open = nil
    return report
  }

  /// The last report.
  mutating func finish() -> AllocationReport? {
    defer { open = nil }
    return open
  }

  /// Takes a message, and returns whether it is about an overflow.
  mutating func add(_ message: LogMessage) -> Bool {
    let bytes = message.text.bytes
    guard open != nil || bytes.contains("stack") else { return false }
    var isUsed = false
    for fact in messages.read(message.text) {
      guard case .begin(let place) = fact else {
        if open != nil, note(fact) { isUsed = true }
        continue
      }
      let line = message.text.number(at: place)
      var report = open ?? AllocationReport(firstLine: line)
      // A message and the panic that follows it are one overflow.
      let isPanic = bytes.contains("anic") || bytes.contains("double-fault") || bytes.contains("CPU: ")
      if !isPanic || report.overflows.isEmpty { report.overflows.append(StackOverflow(line: line)) }
      open = report
      isUsed = true
    }
    return isUsed
  }

  /// Gives a fact to the first overflow that lacks it, and returns whether one does.
  ///
  /// CPUs that print at once go on in the order in which they began.
  private mutating func note(_ fact: OverflowMessage.Fact) -> Bool {
    guard var report = open else { return false }
    let index: Int?
    switch fact {
    case .begin: index = nil
    case .fault(let address):
      index = report.overflows.firstIndex { $0.faultAddress == nil }
      if let index { report.overflows[index].faultAddress = address }
    case .stack(let bounds):
      index = report.overflows.firstIndex { $0.stack == nil }
      if let index { report.overflows[index].stack = bounds }
    case .process(let name):
      index = report.overflows.firstIndex { $0.process == nil }
      if let index { report.overflows[index].process = name }
    }
    open = report
    return index != nil
  }
}
