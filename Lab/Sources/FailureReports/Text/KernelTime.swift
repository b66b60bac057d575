// The kernel's own time stamps.

/// A time stamp as the kernel prints it: `[  126.472373]`, `[309805.658142s]`, `[    5.123456 <    0.000012>]`.
struct KernelTime: Equatable {
  /// Since boot.
  var microseconds: UInt64
  /// Behind the closing bracket.
  var end: Int

  /// The time stamp that begins at `start`, or `nil` if there is none.
  init?(in line: [UInt8], at start: Int) {
    var scanner = ByteScanner(line, at: start)
    guard scanner.take(UInt8(ascii: "[")) else { return nil }
    scanner.skipBlanks()
    guard let seconds = scanner.number(), seconds < 1 << 40, scanner.take(UInt8(ascii: ".")) else { return nil }
    let digits = scanner.run(while: \.isDigit)
    guard digits.count >= 3, digits.count <= 9 else { return nil }
    var fraction: UInt64 = 0
    for index in 0..<6 {
      fraction = fraction * 10 + (index < digits.count ? UInt64(line[digits.lowerBound + index] - 0x30) : 0)
    }
    _ = scanner.take(UInt8(ascii: "s"))
    if scanner.take(UInt8(ascii: ",")) { guard scanner.number() != nil else { return nil } }
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "<")) {
      _ = scanner.run { $0 != UInt8(ascii: ">") && $0 != UInt8(ascii: "]") }
      guard scanner.take(UInt8(ascii: ">")) else { return nil }
    }
    guard scanner.take(UInt8(ascii: "]")) else { return nil }
    microseconds = seconds * 1_000_000 + fraction
    end = scanner.index
  }

  /// Where the first time stamp at or after `start` begins, or `nil`.
  static func first(in line: [UInt8], from start: Int, within limit: Int = .max) -> Int? {
    var index = start
    let end = limit >= line.count - start ? line.count : start + limit
    while let found = line.offset(of: "[", from: index, before: end) {
      if KernelTime(in: line, at: found) != nil { return found }
      index = found + 1
    }
    return nil
  }
}
