// Lines of logs that are kept as JSON objects, one a line: Docker's json-file driver, `journalctl -o json`.

/// Takes the message out of a JSON log line.
enum JSONLogLine {
  /// The message's text, or as much of it as a cut line has; `nil` if the line is not such an object.
  static func message(_ line: [UInt8]) -> [UInt8]? {
    guard line.has("{\"", at: 0) else { return nil }
    for key: StaticString in ["\"log\"", "\"MESSAGE\"", "\"message\"", "\"msg\""] {
      guard let start = line.offset(of: key) else { continue }
      var scanner = ByteScanner(line, at: start + key.utf8CodeUnitCount)
      scanner.skipBlanks()
      guard scanner.take(UInt8(ascii: ":")) else { continue }
      scanner.skipBlanks()
      guard scanner.take(UInt8(ascii: "\"")) else { continue }
      return unescaped(&scanner)
    }
    return nil
  }

  /// The string that begins here, without its escapes.
  private static func unescaped(_ scanner: inout ByteScanner) -> [UInt8] {
    var text: [UInt8] = []
    while !scanner.isAtEnd {
      if scanner.take(UInt8(ascii: "\"")) { return text }
      guard scanner.take(UInt8(ascii: "\\")) else {
        text.append(scanner.current)
        scanner.index += 1
        continue
      }
      guard !scanner.isAtEnd else { return text }
      let escape = scanner.current
      scanner.index += 1
      switch escape {
      case UInt8(ascii: "n"), UInt8(ascii: "r"): break
      case UInt8(ascii: "t"): text.append(.blank)
      case UInt8(ascii: "u"):
        let digits = scanner.index..<min(scanner.index + 4, scanner.bytes.count)
        guard digits.count == 4, let code = UInt32(scanner.bytes.text(digits), radix: 16) else { return text }
        scanner.index += 4
        if let scalar = Unicode.Scalar(code) { text += Array(String(Character(scalar)).utf8) }
      default: text.append(escape)
      }
    }
    return text
  }
}
