// An input read as a sequence of decisions.

/// The bytes of an input, one after the other; zeroes after the last.
struct InputReader {
  private let bytes: UnsafeRawBufferPointer
  private var next = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// Whether all bytes have been read.
  var isAtEnd: Bool { next >= bytes.count }

  mutating func byte() -> UInt8 {
    guard next < bytes.count else { return 0 }
    defer { next += 1 }
    return bytes[next]
  }

  /// A number below a bound.
  mutating func below(_ bound: Int) -> Int { Int(byte()) % bound }

  /// Eight bytes, the lowest first.
  mutating func word() -> UInt64 {
    var value: UInt64 = 0
    for shift in 0..<UInt64(8) { value |= UInt64(byte()) << (shift * 8) }
    return value
  }
}
