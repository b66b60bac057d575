// Mail's quoted-printable encoding (RFC 2045, section 6.7).

/// Decodes quoted-printable lines, as found in saved mails and in archives that show them raw.
enum QuotedPrintable {
  /// Whether a text that begins with `sample` is encoded so.
  ///
  /// A log is full of equals signs, and in the encoding each of them is `=3D`.
  static func isUsed(in sample: [UInt8]) -> Bool {
    var escaped = 0
    var equalsSigns = 0
    var plain = 0
    var index = 0
    while let found = sample.offset(of: "=", from: index) {
      index = found + 1
      if sample.has("3D", at: index) { equalsSigns += 1 }
      if sample.has("3D", at: index) || sample.has("\n", at: index) || sample.has("\r\n", at: index)
        || sample.has("20\n", at: index) || sample.has("20\r\n", at: index) || sample.has("C2=A0", at: index)
      {
        escaped += 1
      } else {
        plain += 1
      }
    }
    // A thread of mails may be encoded in part.
    return equalsSigns > 0 && (escaped > plain || equalsSigns >= 3)
  }

  /// Decodes a line.
  ///
  /// - Returns: the text, and whether the next line continues it.
  static func decode(_ line: [UInt8]) -> (text: [UInt8], continues: Bool) {
    guard line.contains(UInt8(ascii: "=")) else { return (line, false) }
    var end = line.count
    while end > 0, line[end - 1] == .blank || line[end - 1] == 0x09 { end -= 1 }
    let continues = end > 0 && line[end - 1] == UInt8(ascii: "=")
    if continues { end -= 1 } else { end = line.count }
    var text: [UInt8] = []
    text.reserveCapacity(end)
    var index = 0
    while index < end {
      if line[index] == UInt8(ascii: "="), index + 2 < line.count, index + 2 < end,
        let high = line[index + 1].hexValue, let low = line[index + 2].hexValue
      {
        text.append(high << 4 | low)
        index += 3
      } else {
        text.append(line[index])
        index += 1
      }
    }
    return (text, continues)
  }
}
