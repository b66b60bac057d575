// Searches in lines of bytes: logs are not always text in one encoding, and a megabyte of them must take milliseconds.

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

extension [UInt8] {
  /// The bytes of `text`.
  init(_ text: StaticString) {
    self = text.withUTF8Buffer { [UInt8]($0) }
  }

  /// Whether `pattern` stands at `offset`.
  func has(_ pattern: StaticString, at offset: Int = 0) -> Bool {
    let length = pattern.utf8CodeUnitCount
    guard offset >= 0, offset + length <= count else { return false }
    let start = pattern.utf8Start
    return withUnsafeBufferPointer { bytes in
      for index in 0..<length where bytes[offset + index] != start[index] { return false }
      return true
    }
  }

  /// The offset of the first `pattern` that begins at or after `start` and ends before `end`, or `nil`.
  func offset(of pattern: StaticString, from start: Int = 0, before end: Int? = nil) -> Int? {
    let length = pattern.utf8CodeUnitCount
    let limit = (end ?? count) - length
    let first = Int32(pattern.utf8Start[0])
    return withUnsafeBufferPointer { bytes -> Int? in
      guard let base = bytes.baseAddress else { return nil }
      var index = start
      while index <= limit {
        guard let found = memchr(base + index, first, limit - index + 1) else { return nil }
        index = UnsafePointer(found.assumingMemoryBound(to: UInt8.self)) - base
        if memcmp(base + index, pattern.utf8Start, length) == 0 { return index }
        index += 1
      }
      return nil
    }
  }

  /// Whether `pattern` occurs.
  func contains(_ pattern: StaticString) -> Bool { offset(of: pattern) != nil }

  /// The offset of the first `pattern`, where each of its blanks stands for any number of blanks, also none.
  ///
  /// So a phrase is found although mail has wrapped it, at a blank or in the middle of a word.
  func offset(ofPhrase pattern: StaticString, from start: Int = 0) -> Int? {
    let length = pattern.utf8CodeUnitCount
    let phrase = pattern.utf8Start
    let first = Int32(phrase[0])
    return withUnsafeBufferPointer { bytes -> Int? in
      guard let base = bytes.baseAddress else { return nil }
      var begin = start
      while begin < bytes.count {
        guard let found = memchr(base + begin, first, bytes.count - begin) else { return nil }
        begin = UnsafePointer(found.assumingMemoryBound(to: UInt8.self)) - base
        var index = begin
        var matched = 0
        while matched < length, index < bytes.count {
          if phrase[matched] == .blank {
            matched += 1
            while index < bytes.count, bytes[index] == .blank { index += 1 }
          } else if bytes[index] == phrase[matched] {
            index += 1
            matched += 1
          } else {
            break
          }
        }
        if matched == length { return begin }
        begin += 1
      }
      return nil
    }
  }

  /// Whether the phrase `pattern` occurs, its blanks standing for any number of blanks.
  func contains(phrase pattern: StaticString) -> Bool { offset(ofPhrase: pattern) != nil }

  /// The bytes from `range` as text.
  func text(_ range: Range<Int>) -> String { String(decoding: self[range], as: UTF8.self) }
}

extension UInt8 {
  static let blank = UInt8(ascii: " ")

  var isDigit: Bool { self >= 0x30 && self <= 0x39 }
  var isUppercase: Bool { self >= 0x41 && self <= 0x5a }
  var isLetter: Bool { (self | 0x20) >= 0x61 && (self | 0x20) <= 0x7a }
  /// Whether it may be part of an identifier in C.
  var isWord: Bool { isDigit || isLetter || self == UInt8(ascii: "_") }
  var isHexDigit: Bool { isDigit || ((self | 0x20) >= 0x61 && (self | 0x20) <= 0x66) }

  /// The value of a hexadecimal digit.
  var hexValue: UInt8? {
    if isDigit { return self - 0x30 }
    return isHexDigit ? (self | 0x20) - 0x61 + 10 : nil
  }
}
