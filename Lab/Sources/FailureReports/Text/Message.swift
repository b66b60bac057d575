// Lines cut into the messages that stand on them.

/// A message of the kernel, or a part of one, as it stands on a line.
struct Message: Equatable {
  /// The text without prefix and quote marks.
  var text: TextLine
  /// The kernel's time in microseconds, if printed before it.
  var microseconds: UInt64?
  /// What printed it, if noted.
  var caller: String?
  /// Whether a prefix stood before it: then it begins here, and continues nothing.
  var isPrefixed: Bool

  /// The messages on a line that has been decoded and cleaned.
  ///
  /// Two CPUs that print at once put several on one line; each has a time stamp of its own.
  ///
  /// - Parameter first: where the quote marks end.
  static func split(_ line: TextLine, from first: Int) -> [Message] {
    var result: [Message] = []
    var start = first
    let bytes = line.bytes
    while true {
      var prefix = LogPrefix(of: bytes, from: start)
      var textStart = start + prefix.length
      if prefix.microseconds == nil, let stamp = KernelTime.first(in: bytes, from: textStart, within: 160),
        !looksLikeMessage(bytes, textStart..<stamp)
      {
        // An unknown prefix in front of the kernel's own.
        prefix = LogPrefix(of: bytes, from: stamp)
        textStart = stamp + prefix.length
        prefix.isPresent = true
      }
      if prefix.isPresent, textStart < bytes.count, bytes[textStart] == .blank { textStart += 1 }
      if !prefix.isPresent, let rest = LogPrefix(restIn: bytes, from: textStart) {
        prefix = rest
        textStart += rest.length
      }
      let next = KernelTime.first(in: bytes, from: textStart) ?? bytes.count
      if next > textStart || !prefix.isPresent || next == bytes.count {
        result.append(
          Message(
            text: line.part(textStart..<next), microseconds: prefix.microseconds, caller: prefix.caller,
            isPrefixed: prefix.isPresent))
      }
      if next == bytes.count { return result }
      start = next
    }
  }

  /// Whether bytes before a time stamp are a message, not a prefix.
  private static func looksLikeMessage(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    let part = Array(bytes[range])
    return part.isEmpty || part.contains("kB") || part.contains("+0x") || part.contains("*")
      || part.contains("(") || part.contains("order")
  }
}
