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

/// Joins the parts of wrapped messages.
///
/// What begins with a prefix begins a message. Where there are no prefixes, the words that messages begin with decide.
struct LineAssembler {
  private var pending: Message?

  /// The greatest length of a message; what is longer is no message of a kernel's.
  private static let greatestLength = 16 << 10
  private static let greatestPartCount = 80

  /// Takes a part, and returns the message that is known to be complete.
  mutating func add(_ message: Message) -> LogMessage? {
    let isBlank = message.text.bytes.allSatisfy { $0 == .blank }
    if isBlank && !message.isPrefixed { return flush() }
    if let current = pending, continues(message, current) {
      join(message)
      return nil
    }
    let finished = flush()
    pending = message
    return finished
  }

  /// The last message.
  mutating func flush() -> LogMessage? {
    guard let message = pending else { return nil }
    pending = nil
    return LogMessage(text: message.text, microseconds: message.microseconds, caller: message.caller)
  }

  private func continues(_ message: Message, _ current: Message) -> Bool {
    guard !message.isPrefixed, current.text.bytes.count < Self.greatestLength,
      current.text.joints.count < Self.greatestPartCount
    else { return false }
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
    return text.contains(", zone") || text.contains("order") || text.contains("gfp") || text.contains("CPU:")
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
