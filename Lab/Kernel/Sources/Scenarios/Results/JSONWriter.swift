// JSON without a heap: one object on one line, written field by field.

import KernelStacks

/// Writes one JSON object per line to a text sink, with a `type` key first.
public struct JSONWriter<Sink: TextSink> {
  /// Where the text goes.
  public var sink: Sink

  private var needsComma = false

  /// A writer to `sink`.
  public init(_ sink: Sink) { self.sink = sink }

  /// Starts a line: `{"type":"…"`.
  public mutating func begin(_ type: StaticString) {
    sink.beginLine()
    sink.write(byte: UInt8(ascii: "{"))
    needsComma = false
    field("type", type)
  }

  /// Ends the line: `}` and a newline.
  public mutating func end() {
    sink.write(byte: UInt8(ascii: "}"))
    sink.write(byte: UInt8(ascii: "\n"))
    sink.endLine()
  }

  /// Starts an object inside the object.
  public mutating func beginObject(_ key: StaticString) {
    self.key(key)
    sink.write(byte: UInt8(ascii: "{"))
    needsComma = false
  }

  /// Ends an object inside the object.
  public mutating func endObject() {
    sink.write(byte: UInt8(ascii: "}"))
    needsComma = true
  }

  /// Starts a list of numbers inside the object.
  public mutating func beginNumbers(_ key: StaticString) {
    self.key(key)
    sink.write(byte: UInt8(ascii: "["))
    needsComma = false
  }

  /// Writes the next number of the list.
  public mutating func number(_ value: Int) {
    if needsComma { sink.write(byte: UInt8(ascii: ",")) }
    needsComma = true
    sink.write(value)
  }

  /// Ends a list of numbers.
  public mutating func endNumbers() {
    sink.write(byte: UInt8(ascii: "]"))
    needsComma = true
  }

  /// Writes a key; what follows must be one value.
  public mutating func key(_ key: StaticString) {
    if needsComma { sink.write(byte: UInt8(ascii: ",")) }
    needsComma = true
    writeString(key)
    sink.write(byte: UInt8(ascii: ":"))
  }

  /// Writes a key and a number.
  public mutating func field(_ key: StaticString, _ value: Int) {
    self.key(key)
    sink.write(value)
  }

  /// Writes a key and an unsigned number.
  public mutating func field(_ key: StaticString, _ value: UInt64) {
    self.key(key)
    sink.write(UInt(value))
  }

  /// Writes a key and a truth value.
  public mutating func field(_ key: StaticString, _ value: Bool) {
    self.key(key)
    sink.write(value ? "true" : "false")
  }

  /// Writes a key and a text.
  public mutating func field(_ key: StaticString, _ value: StaticString) {
    self.key(key)
    writeString(value)
  }

  /// Writes a key and what a value says of itself.
  public mutating func field<Value: TextDescribable>(_ key: StaticString, describing value: Value) {
    self.key(key)
    sink.write(byte: UInt8(ascii: "\""))
    var escaping = EscapingSink(sink)
    value.write(to: &escaping)
    sink = escaping.sink
    sink.write(byte: UInt8(ascii: "\""))
  }

  /// Starts a text that is written in pieces, which need no escaping.
  mutating func beginText(_ key: StaticString) {
    self.key(key)
    sink.write(byte: UInt8(ascii: "\""))
  }

  /// Writes a piece of the text.
  mutating func append(byte: UInt8) { sink.write(byte: byte) }

  /// Writes a number into the text.
  mutating func append(_ number: Int) { sink.write(number) }

  /// Ends the text.
  mutating func endText() { sink.write(byte: UInt8(ascii: "\"")) }

  /// Writes a key and `null`.
  public mutating func nullField(_ key: StaticString) {
    self.key(key)
    sink.write("null")
  }

  /// Writes a key and a share of 1, given in thousandths: `0.372`.
  public mutating func field(_ key: StaticString, permille: Int) {
    self.key(key)
    sink.write(permille / 1000)
    sink.write(byte: UInt8(ascii: "."))
    let fraction = permille % 1000
    sink.write(byte: UInt8(ascii: "0") + UInt8(fraction / 100))
    sink.write(byte: UInt8(ascii: "0") + UInt8(fraction / 10 % 10))
    sink.write(byte: UInt8(ascii: "0") + UInt8(fraction % 10))
  }

  private mutating func writeString(_ text: StaticString) {
    sink.write(byte: UInt8(ascii: "\""))
    var escaping = EscapingSink(sink)
    escaping.write(text)
    sink = escaping.sink
    sink.write(byte: UInt8(ascii: "\""))
  }
}

/// A sink that escapes what JSON does not allow inside a string.
struct EscapingSink<Sink: TextSink>: TextSink {
  var sink: Sink

  init(_ sink: Sink) { self.sink = sink }

  mutating func write(byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"):
      sink.write(byte: UInt8(ascii: "\\"))
      sink.write(byte: byte)
    case 0..<0x20:
      sink.write("\\u00")
      sink.write(byte: UInt8(ascii: "0") + (byte >> 4))
      let low = byte & 15
      sink.write(byte: low < 10 ? UInt8(ascii: "0") + low : UInt8(ascii: "a") + low - 10)
    default:
      sink.write(byte: byte)
    }
  }
}
