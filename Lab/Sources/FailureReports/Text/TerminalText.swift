// What terminals, editors and web pages put among the characters of a log.

/// Cleans a line: no control sequences, no control characters, and blanks of one kind.
enum TerminalText {
  /// Whether nothing is to be cleaned.
  static func isClean(_ line: [UInt8]) -> Bool {
    line.withUnsafeBufferPointer { bytes in
      for index in bytes.indices {
        let byte = bytes[index]
        if byte < 0x20 || byte >= 0x7f { return false }
        if byte == UInt8(ascii: "^") || byte == UInt8(ascii: "\\") { return false }
        if byte == UInt8(ascii: "#"), bytes.count > index + 3, bytes[index + 1] == 0x30 { return false }
        if byte == UInt8(ascii: "_"), bytes.count > index + 3, bytes[index + 1] == byte,
          bytes[index + 2] == byte
        {
          return false
        }
      }
      return true
    }
  }

  /// The line without colours and control characters; tabs and all kinds of spaces become blanks.
  ///
  /// Bytes are never joined to bytes that stood apart: what is taken out is a sequence that had no width.
  static func clean(_ line: TextLine) -> TextLine {
    if isClean(line.bytes) { return line }
    var result = TextLine([], number: line.number)
    result.bytes.reserveCapacity(line.bytes.count)
    var joints = line.joints[...]
    var index = 0
    let bytes = line.bytes
    while index < bytes.count {
      while let joint = joints.first, joint.offset <= index {
        result.joints.append(TextLine.Origin(offset: result.bytes.count, number: joint.number))
        joints.removeFirst()
      }
      let byte = bytes[index]
      if let sequence = escapeLength(bytes, at: index) {
        index += sequence
      } else if let space = spaceLength(bytes, at: index) {
        if space.isVisible { result.bytes.append(.blank) }
        index += space.length
      } else if byte < 0x20 || byte == 0x7f {
        index += 1
      } else {
        result.bytes.append(byte)
        index += 1
      }
    }
    if result.bytes.contains("___") { blankUnderscores(&result.bytes) }
    return result
  }

  /// How many bytes the control sequence here takes: as sent, or as spelt by less, rsyslog or a programming language.
  private static func escapeLength(_ bytes: [UInt8], at start: Int) -> Int? {
    var scanner = ByteScanner(bytes, at: start)
    let isSequence: Bool
    if scanner.take(UInt8(0x1b)) {
      isSequence = true
    } else if bytes.has("^[[", at: start) || bytes.has("#033[", at: start) || bytes.has("\\x1b[", at: start)
      || bytes.has("\\033[", at: start) || bytes.has("\\u001b[", at: start) || bytes.has("\\e[", at: start)
    {
      while scanner.peek(1) != UInt8(ascii: "[") || scanner.current == UInt8(ascii: "^") { scanner.index += 1 }
      scanner.index += 1
      isSequence = true
    } else {
      isSequence = false
    }
    guard isSequence else { return nil }
    if scanner.take(UInt8(ascii: "[")) {
      // Control sequence: parameters, intermediates, one final byte (ECMA-48, 5.4).
      _ = scanner.run { $0 >= 0x20 && $0 <= 0x3f }
      if scanner.current >= 0x40 && scanner.current <= 0x7e { scanner.index += 1 }
    } else if scanner.take(UInt8(ascii: "]")) {
      _ = scanner.run { $0 != 0x07 && $0 != 0x1b }
      if scanner.current == 0x07 { scanner.index += 1 }
    } else if scanner.current == UInt8(ascii: "(") || scanner.current == UInt8(ascii: ")") {
      scanner.index += 2
    } else if !scanner.isAtEnd, scanner.current >= 0x30, scanner.current < 0x7f {
      scanner.index += 1
    }
    return min(scanner.index, bytes.count) - start
  }

  /// How many bytes the space here takes, and whether it has a width.
  private static func spaceLength(_ bytes: [UInt8], at index: Int) -> (length: Int, isVisible: Bool)? {
    let byte = bytes[index]
    if byte == 0x09 { return (1, true) }
    if byte == UInt8(ascii: "#"), bytes.has("#011", at: index) || bytes.has("#015", at: index) {
      return (4, true)
    }
    if byte == UInt8(ascii: "^"), bytes.has("^M", at: index), index + 2 == bytes.count { return (2, false) }
    guard byte >= 0x80 else { return nil }
    let next = index + 1 < bytes.count ? bytes[index + 1] : 0
    let third = index + 2 < bytes.count ? bytes[index + 2] : 0
    switch (byte, next, third) {
    case (0xc2, 0xa0, _): return (2, true)
    case (0xc2, 0xad, _): return (2, false)
    case (0xe2, 0x80, 0x80...0x8a), (0xe2, 0x80, 0xaf), (0xe2, 0x81, 0x9f), (0xe3, 0x80, 0x80): return (3, true)
    case (0xe2, 0x80, 0x8b...0x8f), (0xe2, 0x81, 0xa0), (0xef, 0xbb, 0xbf): return (3, false)
    // Latin-1's no-break space: 0xa0 that continues no UTF-8 character.
    case (0xa0, _, _) where index == 0 || bytes[index - 1] < 0x80: return (1, true)
    default: return nil
    }
  }

  /// Turns underscores that stand for blanks into blanks.
  ///
  /// Some archives show no-break spaces so. Identifiers have two underscores at most, and never between numbers.
  private static func blankUnderscores(_ bytes: inout [UInt8]) {
    let underscore = UInt8(ascii: "_")
    let isTable =
      bytes.contains(", zone_") || bytes.contains(", zone ")
      || bytes.allSatisfy { $0 == underscore || $0.isDigit || $0 == .blank || $0 == UInt8(ascii: ">") }
    guard isTable else { return }
    for index in bytes.indices where bytes[index] == underscore { bytes[index] = .blank }
  }
}
