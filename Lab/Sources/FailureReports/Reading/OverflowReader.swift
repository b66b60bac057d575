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
      guard case .begin = fact else {
        if open != nil {
          note(fact)
          isUsed = true
        }
        continue
      }
      var report = open ?? AllocationReport(firstLine: message.text.number)
      // A message and the panic that follows it are one overflow.
      let isPanic = bytes.contains("anic") || bytes.contains("double-fault") || bytes.contains("CPU: ")
      if !isPanic || report.overflows.isEmpty {
        report.overflows.append(StackOverflow(line: message.text.number))
      }
      open = report
      isUsed = true
    }
    return isUsed
  }

  /// Gives a fact to the first overflow that lacks it: CPUs that print at once go on in the order in which they began.
  private mutating func note(_ fact: OverflowMessage.Fact) {
    guard var report = open else { return }
    let overflows = report.overflows
    switch fact {
    case .begin: break
    case .fault(let address):
      if let index = overflows.firstIndex(where: { $0.faultAddress == nil }) {
        report.overflows[index].faultAddress = address
      }
    case .stack(let bounds):
      if let index = overflows.firstIndex(where: { $0.stack == nil }) { report.overflows[index].stack = bounds }
    case .process(let name):
      if let index = overflows.firstIndex(where: { $0.process == nil }) {
        report.overflows[index].process = name
      }
    }
    open = report
  }
}
