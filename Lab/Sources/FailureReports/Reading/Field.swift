// Named numbers in a message: `free:15360kB`, `slab_reclaimable:11788`.

/// A named number.
struct Field {
  /// What a number counts.
  enum Unit { case kilobytes, plain }

  /// Where the name stands.
  var name: Range<Int>
  var value: UInt64
  var unit: Unit

  /// All of them in a message, in order.
  ///
  /// A number that was wrapped in its middle is put together again; one whose unit is cut off counts as plain.
  static func all(in text: TextLine, from start: Int = 0) -> [Field] {
    let bytes = text.bytes
    var result: [Field] = []
    var index = start
    while let colon = bytes.offset(of: ":", from: index) {
      index = colon + 1
      let name = Self.name(before: colon, in: text, from: start)
      guard !name.isEmpty else { continue }
      var scanner = ByteScanner(bytes, at: colon + 1)
      scanner.skipBlanks()
      guard var value = scanner.number() else { continue }
      var unit = Self.unit(&scanner, text)
      if unit == .plain, let more = Self.continuation(&scanner, text) {
        let (scaled, overflow) = value.multipliedReportingOverflow(by: more.scale)
        if overflow { continue }
        value = scaled &+ more.value
        unit = .kilobytes
      }
      result.append(Field(name: name, value: value, unit: unit))
      index = scanner.index
    }
    return result
  }

  /// The word in front of a colon.
  private static func name(before colon: Int, in text: TextLine, from start: Int) -> Range<Int> {
    let bytes = text.bytes
    var begin = colon
    while begin > start {
      let byte = bytes[begin - 1]
      guard byte.isLetter || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "(") || byte == UInt8(ascii: ")")
      else { break }
      begin -= 1
    }
    // Wrapping may have lost a blank: `bounce:0kBfree_pcp:0kB`.
    if begin > start, bytes[begin - 1].isDigit, bytes.has("kB", at: begin) || bytes.has("KB", at: begin) {
      begin += 2
    }
    return begin..<colon
  }

  private static func unit(_ scanner: inout ByteScanner, _ text: TextLine) -> Unit {
    let start = scanner.index
    let k = scanner.current
    if k == UInt8(ascii: "k") || k == UInt8(ascii: "K") {
      scanner.index += 1
      skipJoint(&scanner, text)
      if scanner.take(UInt8(ascii: "B")) { return .kilobytes }
    } else if isJoint(scanner.index, text) || scanner.current == .blank {
      // `638020 kB` of /proc/meminfo, and a unit that was wrapped to the next line.
      scanner.skipBlanks()
      if scanner.take("kB") || scanner.take("KB") { return .kilobytes }
    }
    scanner.index = start
    return .plain
  }

  /// The rest of a number that was wrapped with a blank in its middle.
  private static func continuation(
    _ scanner: inout ByteScanner, _ text: TextLine
  ) -> (value: UInt64, scale: UInt64)? {
    let start = scanner.index
    guard scanner.current == .blank, isJoint(start, text) || isJoint(start + 1, text) else { return nil }
    scanner.skipBlanks()
    let digits = scanner.index
    if let value = scanner.number(), scanner.index - digits < 10, unit(&scanner, text) == .kilobytes {
      var scale: UInt64 = 1
      for _ in 0..<ByteScanner.digitCount(scanner.bytes, at: digits) { scale *= 10 }
      return (value, scale)
    }
    scanner.index = start
    return nil
  }

  private static func isJoint(_ offset: Int, _ text: TextLine) -> Bool {
    text.joints.contains { $0.offset == offset }
  }

  private static func skipJoint(_ scanner: inout ByteScanner, _ text: TextLine) {
    guard scanner.current == .blank, isJoint(scanner.index, text) || isJoint(scanner.index + 1, text) else {
      return
    }
    scanner.skipBlanks()
  }
}

extension ByteScanner {
  /// How many digits stand at `start`.
  static func digitCount(_ bytes: [UInt8], at start: Int) -> Int {
    var end = start
    while end < bytes.count, bytes[end].isDigit { end += 1 }
    return end - start
  }
}
