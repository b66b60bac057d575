// Puts messages together that were wrapped on their way.

/// A whole message of the kernel.
package struct LogMessage: Equatable, Sendable {
  /// The text and the numbers of the lines that it was made of.
  package var text: TextLine
  /// The kernel's time in microseconds, if printed before it.
  package var microseconds: UInt64?
  /// What printed it, if noted.
  package var caller: String?
}

extension LogMessage {
  fileprivate init(_ message: Message) {
    self.init(text: message.text, microseconds: message.microseconds, caller: message.caller)
  }
}

/// Joins the parts of wrapped messages.
///
/// What begins with a prefix begins a message. Where there are no prefixes, the words that messages begin with decide.
struct LineAssembler {
  private var pending: Message?

  /// The greatest length of a message; what is longer is no message of a kernel's.
  private static let greatestLength = 16 << 10
  private static let greatestPartCount = 80

  /// Takes a part, and adds the message that is known to be complete.
  mutating func add(_ message: Message, to messages: inout [LogMessage]) {
    let isBlank = message.text.bytes.allSatisfy { $0 == .blank }
    if isBlank && !message.isPrefixed { return flush(to: &messages) }
    if let current = pending, continues(message, current) { return join(message) }
    flush(to: &messages)
    pending = message
  }

  /// Adds the last message.
  mutating func flush(to messages: inout [LogMessage]) {
    guard var message = pending else { return }
    pending = nil
    if !message.text.joints.isEmpty {
      if message.microseconds != nil && message.caller == nil { takeCaller(of: &message) }
      // A time stamp that was wrapped in its middle is whole now, and begins another message.
      if let stamp = KernelTime.first(in: message.text.bytes, from: 0) {
        let others = message.text.part(stamp..<message.text.bytes.count)
        message.text = message.text.part(0..<stamp)
        messages.append(LogMessage(message))
        for other in Message.split(others, from: QuoteMarks.length(others.bytes)) {
          messages.append(LogMessage(other))
        }
        return
      }
    }
    messages.append(LogMessage(message))
  }

  /// Takes the caller out of a message whose prefix was wrapped inside it.
  private func takeCaller(of message: inout Message) {
    let prefix = LogPrefix(of: message.text.bytes, afterTime: true)
    guard let caller = prefix.caller else { return }
    message.caller = caller
    message.text = message.text.part(prefix.length..<message.text.bytes.count)
  }

  private func continues(_ message: Message, _ current: Message) -> Bool {
    guard !message.isPrefixed, current.text.bytes.count < Self.greatestLength,
      current.text.joints.count < Self.greatestPartCount
    else { return false }
    // A prefix with nothing behind it was wrapped before its message.
    if current.isPrefixed, current.text.joints.isEmpty, current.text.bytes.allSatisfy({ $0 == .blank }) {
      return true
    }
    switch MessageStart(message.text.bytes) {
    case .certain: return false
    case .likely: return current.isPrefixed && !isTableOfPages(message)
    case .none: return current.isPrefixed || isOpen(current.text.bytes)
    }
  }

  /// Whether a line is one that the kernel itself prints without a prefix, in a message of several lines.
  private func isTableOfPages(_ message: Message) -> Bool {
    let text = message.text.bytes
    return text.contains("active_file:") || text.contains("slab_reclaimable:") || text.contains("unevictable:")
      || text.contains("free_pcp:") || text.contains("mapped:")
      ? !text.contains("kB") : false
  }

  /// Whether a message without a prefix is one that is so long that it gets wrapped.
  private func isOpen(_ text: [UInt8]) -> Bool {
    if text.contains("kB") { return !FreeListLine.isComplete(text) }
    if let zone = text.offset(of: ", zone") {
      // A row of free blocks; the name alone is a line of /proc/zoneinfo.
      return text[zone...].split(separator: .blank).count > 3
    }
    return text.contains("order") || text.contains("gfp") || text.contains("CPU:")
      || text.contains("Node ") || text.contains("size") || text.contains("Active:") || text.contains("free:")
      || text.contains(" from ") || text.contains("(from") || text.contains("DMA") || text.contains("Normal")
      || text.contains("lowmem_reserve") || text.contains("invoked") || text.contains("page allo")
  }

  private mutating func join(_ message: Message) {
    var part = message.text
    guard var current = pending else { return }
    // At a blank one blank is enough, and in the middle of a word there is none.
    let leading = part.bytes.prefix { $0 == .blank }.count
    let hasBlank = leading > 0 || current.text.bytes.last == .blank
    part = part.part(leading..<part.bytes.count)
    while current.text.bytes.last == .blank { current.text.bytes.removeLast() }
    if hasBlank { current.text.bytes.append(.blank) }
    current.text.join(part)
    pending = current
  }
}
