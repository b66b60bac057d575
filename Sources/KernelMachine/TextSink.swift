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
  /// Appends text.
  public mutating func write(_ text: StaticString) {
    var next = text.utf8Start
    for _ in 0..<text.utf8CodeUnitCount {
      write(byte: next.pointee)
      next += 1
    }
  }

  /// Appends a number in decimal.
  public mutating func write(_ value: Int) {
    if value < 0 { write(byte: UInt8(ascii: "-")) }
    write(value.magnitude)
  }

  /// Appends a number in decimal.
  public mutating func write(_ value: UInt) {
    var divisor: UInt = 1
    while value / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      write(byte: UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: value / divisor % 10))
      divisor /= 10
    }
  }

  /// Appends a number in hexadecimal, with `0x` and 16 digits.
  public mutating func write(hex value: UInt) {
    write("0x")
    var shift = 60
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: value &>> UInt(shift)) & 15
      write(byte: digit < 10 ? UInt8(ascii: "0") &+ digit : UInt8(ascii: "a") &+ digit &- 10)
      shift -= 4
    }
  }

  /// Appends a size in the largest binary unit that leaves at least 1, rounded down: `57 MiB`, `8 KiB`, `0 bytes`.
  public mutating func write(byteCount bytes: Int) {
    if bytes >= 1 << 30, bytes % (1 << 30) == 0 {
      write(bytes >> 30)
      write(" GiB")
    } else if bytes >= 1 << 20 {
      write(bytes >> 20)
      write(" MiB")
    } else if bytes >= 1 << 10 {
      write(bytes >> 10)
      write(" KiB")
    } else {
      write(bytes)
      write(" bytes")
    }
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
