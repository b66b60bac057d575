// Text with two bytes a character, as Windows' shells write it.

/// Turns UTF-16 into UTF-8, piece by piece.
struct UTF16Text {
  private let isBigEndian: Bool
  /// A byte whose partner has not come yet.
  private var half: UInt8?
  private var highSurrogate: UInt32?

  /// A decoder for a text that begins with `sample`, or `nil` if it does not begin with a byte order mark.
  init?(sample: [UInt8]) {
    if sample.starts(with: [0xff, 0xfe]) {
      isBigEndian = false
    } else if sample.starts(with: [0xfe, 0xff]) {
      isBigEndian = true
    } else {
      return nil
    }
  }

  /// The UTF-8 of the next piece.
  mutating func decode(_ piece: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(piece.count)
    for byte in piece {
      guard let first = half else {
        half = byte
        continue
      }
      half = nil
      let unit = isBigEndian ? UInt32(first) << 8 | UInt32(byte) : UInt32(byte) << 8 | UInt32(first)
      var scalar = unit
      if unit >= 0xd800 && unit < 0xdc00 {
        highSurrogate = unit
        continue
      } else if unit >= 0xdc00 && unit < 0xe000 {
        guard let high = highSurrogate else { continue }
        scalar = 0x10000 + (high - 0xd800) << 10 + (unit - 0xdc00)
      }
      highSurrogate = nil
      if scalar == 0xfeff { continue }
      if scalar < 0x80 {
        result.append(UInt8(scalar))
      } else if let character = Unicode.Scalar(scalar) {
        result += Array(String(Character(character)).utf8)
      }
    }
    return result
  }
}
