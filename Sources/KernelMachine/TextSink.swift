// Text without a heap: what errors and reports are written with, on a serial console as on a host.

/// A place that text can be written to, byte by byte, without allocating.
public protocol TextSink {
  /// Appends one byte of UTF-8.
  mutating func write(byte: UInt8)

  /// Says that what follows, up to ``endLine()``, belongs together: on a console that several CPUs write to, nothing else
  /// comes in between.
  mutating func beginLine()

  /// Says that what began with ``beginLine()`` is complete.
  mutating func endLine()
}

extension TextSink {
  /// Does nothing: this sink has one writer.
  public mutating func beginLine() {}

  /// Does nothing: this sink has one writer.
  public mutating func endLine() {}
}

extension TextSink {
  // A call that names a text by its address alone is a third shorter; a literal ends with 0.

  /// Appends text.
  @inline(__always) public mutating func write(_ text: StaticString) { write(textAt: text.utf8Start) }

  /// Appends text that ends with 0.
  @inline(never) private mutating func write(textAt start: UnsafePointer<UInt8>) {
    var next = start
    while next.pointee != 0 {
      write(byte: next.pointee)
      next += 1
    }
  }

  /// Appends text in which marks stand for figures: `%d` for a number in decimal, `%x` for one as ``write(hex:)`` has it, `%b` for
  /// a size as ``write(byteCount:)`` has it, `%s` for ``address(ofText:)``.
  ///
  /// One call for a whole line is a third of the code that a call for each part would be.
  ///
  /// - Parameters:
  ///   - text: the text; no other `%` is in it.
  ///   - first: what the first mark stands for.
  ///   - second: what the second mark stands for.
  @inline(__always)
  public mutating func write(_ text: StaticString, _ first: UInt, _ second: UInt = 0) {
    write(marksAt: text.utf8Start, first, second)
  }

  /// Appends text that ends with 0, in which marks stand for figures, as `write` has it.
  @inline(never)
  public mutating func write(marksAt start: UnsafePointer<UInt8>, _ first: UInt, _ second: UInt) {
    var value = first
    var next = start
    while next.pointee != 0 {
      let byte = next.pointee
      next += 1
      guard byte == UInt8(ascii: "%") else {
        write(byte: byte)
        continue
      }
      switch next.pointee {
      case UInt8(ascii: "d"): write(Int(bitPattern: value))
      case UInt8(ascii: "x"): write(hex: value)
      case UInt8(ascii: "s"): if let text = UnsafePointer<UInt8>(bitPattern: value) { write(textAt: text) }
      default: write(byteCount: Int(bitPattern: value))
      }
      next += 1
      value = second
    }
  }

  /// Text as a figure, which the mark `%s` stands for.
  @inline(__always) public func address(ofText text: StaticString) -> UInt { UInt(bitPattern: text.utf8Start) }

  /// Appends text in which marks stand for figures that may be below 0.
  @inline(__always)
  public mutating func write(_ text: StaticString, _ first: Int, _ second: Int = 0) {
    write(text, UInt(bitPattern: first), UInt(bitPattern: second))
  }

  /// Appends a number in decimal.
  public mutating func write(_ value: Int) {
    if value < 0 { write(byte: UInt8(ascii: "-")) }
    write(value.magnitude)
  }

  /// Appends a number in decimal.
  @inline(never) public mutating func write(_ value: UInt) {
    var divisor: UInt = 1
    while value / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      write(byte: UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: value / divisor % 10))
      divisor /= 10
    }
  }

  /// Appends a number in hexadecimal, with `0x` and 16 digits.
  @inline(never) public mutating func write(hex value: UInt) {
    write(byte: UInt8(ascii: "0"))
    write(byte: UInt8(ascii: "x"))
    var shift = 60
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: value &>> UInt(shift)) & 15
      write(byte: digit < 10 ? UInt8(ascii: "0") &+ digit : UInt8(ascii: "a") &+ digit &- 10)
      shift -= 4
    }
  }

  /// Appends a size in the largest binary unit that leaves at least 1, rounded down: `57 MiB`, `8 KiB`, `0 bytes`.
  @inline(never) public mutating func write(byteCount bytes: Int) {
    let isGiB = bytes >= 1 << 30 && bytes % (1 << 30) == 0
    let shift = isGiB ? 30 : bytes >= 1 << 20 ? 20 : bytes >= 1 << 10 ? 10 : 0
    write(bytes >> shift)
    write(isGiB ? " GiB" : shift == 20 ? " MiB" : shift == 10 ? " KiB" : " bytes")
  }
}

#if hasFeature(Embedded)
  /// A value that can say what it is without allocating.
  public protocol TextDescribable {
    /// Writes the description, without a newline.
    func write<Sink: TextSink>(to sink: inout Sink)
  }
#else
  /// A value that can say what it is without allocating; its `description` has the same words.
  public protocol TextDescribable: CustomStringConvertible {
    /// Writes the description, without a newline.
    func write<Sink: TextSink>(to sink: inout Sink)
  }
#endif

#if !hasFeature(Embedded)
  struct StringSink: TextSink {
    var bytes: [UInt8] = []
    init() {}
    mutating func write(byte: UInt8) { bytes.append(byte) }
  }

  extension TextDescribable {
    /// The same words that ``write(to:)`` writes.
    public var description: String {
      var sink = StringSink()
      write(to: &sink)
      return String(decoding: sink.bytes, as: UTF8.self)
    }
  }
#endif
