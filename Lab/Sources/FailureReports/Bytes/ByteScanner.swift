// Reads a line from left to right.

/// A place in a line of bytes, moved on by what is read there.
struct ByteScanner {
  let bytes: [UInt8]
  var index: Int

  init(_ bytes: [UInt8], at index: Int = 0) {
    self.bytes = bytes
    self.index = index
  }

  var isAtEnd: Bool { index >= bytes.count }

  /// The byte here, or 0 at the end.
  var current: UInt8 { isAtEnd ? 0 : bytes[index] }

  /// The byte `distance` further on, or 0 outside the line.
  func peek(_ distance: Int) -> UInt8 {
    let place = index + distance
    return place >= 0 && place < bytes.count ? bytes[place] : 0
  }

  mutating func skipBlanks() {
    while index < bytes.count, bytes[index] == .blank { index += 1 }
  }

  /// Moves behind `pattern` if it stands here.
  mutating func take(_ pattern: StaticString) -> Bool {
    guard bytes.has(pattern, at: index) else { return false }
    index += pattern.utf8CodeUnitCount
    return true
  }

  /// Moves behind `byte` if it stands here.
  mutating func take(_ byte: UInt8) -> Bool {
    guard current == byte, !isAtEnd else { return false }
    index += 1
    return true
  }

  /// Reads a whole number in decimal digits; `nil`, without moving, where there is none or it exceeds 64 bits.
  mutating func number() -> UInt64? {
    var place = index
    var value: UInt64 = 0
    while place < bytes.count, bytes[place].isDigit {
      let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, carries) = product.addingReportingOverflow(UInt64(bytes[place] - 0x30))
      if tooLarge || carries { return nil }
      value = sum
      place += 1
    }
    guard place > index else { return nil }
    index = place
    return value
  }

  /// Takes a word behind blanks, if it stands there.
  mutating func takeWord(_ word: StaticString) -> Bool {
    let start = index
    skipBlanks()
    if take(word) { return true }
    index = start
    return false
  }

  /// Reads a number of pages, blocks or kilobytes; `nil`, without moving, where it is more than any machine has.
  mutating func amount() -> UInt64? {
    let start = index
    if let value = number(), value < 1 << 36 { return value }
    index = start
    return nil
  }

  /// Reads a whole number; `nil`, without moving, where it was wrapped: there one number cannot be told from two.
  mutating func wholeNumber(in text: TextLine) -> UInt64? {
    let start = index
    guard let value = number() else { return nil }
    if index > start + 1, text.hasJoint(in: start + 1...index - 1) {
      index = start
      return nil
    }
    return value
  }

  /// Reads hexadecimal digits; `nil`, without moving, where there are none or more than 16.
  mutating func hexNumber() -> UInt64? {
    var place = index
    var value: UInt64 = 0
    while place < bytes.count, let digit = bytes[place].hexValue {
      if place - index == 16 { return nil }
      value = value << 4 | UInt64(digit)
      place += 1
    }
    guard place > index else { return nil }
    index = place
    return value
  }

  /// Reads bytes while `belongs` holds.
  mutating func run(while belongs: (UInt8) -> Bool) -> Range<Int> {
    let start = index
    while index < bytes.count, belongs(bytes[index]) { index += 1 }
    return start..<index
  }
}
