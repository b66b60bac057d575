// Reads JSON text.

/// Why a text is not JSON.
public struct JSONError: Error, Equatable, CustomStringConvertible {
  /// What was expected.
  public var expected: String
  /// The byte at which it was expected, from 0.
  public var offset: Int

  /// The error in one line.
  public var description: String { "not JSON: \(expected) expected at byte \(offset)" }
}

extension JSON {
  /// Reads one value, which must be all of the text.
  public init(parsing text: some StringProtocol) throws(JSONError) {
    var parser = JSONParser(bytes: Array(text.utf8))
    self = try parser.value(depth: 0)
    parser.skipBlanks()
    guard parser.offset == parser.bytes.count else { throw parser.expected("the end") }
  }
}

/// Source: RFC 8259.
private struct JSONParser {
  let bytes: [UInt8]
  var offset = 0

  func expected(_ what: String) -> JSONError { JSONError(expected: what, offset: offset) }

  var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  mutating func skipBlanks() {
    while let byte = next, byte == 32 || byte == 9 || byte == 10 || byte == 13 { offset += 1 }
  }

  mutating func take(_ character: Unicode.Scalar) -> Bool {
    skipBlanks()
    guard next == UInt8(ascii: character) else { return false }
    offset += 1
    return true
  }

  mutating func value(depth: Int) throws(JSONError) -> JSON {
    guard depth < 100 else { throw expected("less nesting") }
    skipBlanks()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return try number()
    }
  }

  mutating func word(_ text: String, _ value: JSON) throws(JSONError) -> JSON {
    guard bytes[offset...].starts(with: text.utf8) else { throw expected(text) }
    offset += text.utf8.count
    return value
  }

  mutating func object(depth: Int) throws(JSONError) -> JSON {
    offset += 1
    var members: [JSON.Member] = []
    if take("}") { return .object(members) }
    repeat {
      skipBlanks()
      guard next == UInt8(ascii: "\"") else { throw expected("a key") }
      let key = try string()
      guard take(":") else { throw expected("':'") }
      members.append(JSON.Member(key, try value(depth: depth + 1)))
    } while take(",")
    guard take("}") else { throw expected("'}'") }
    return .object(members)
  }

  mutating func array(depth: Int) throws(JSONError) -> JSON {
    offset += 1
    var elements: [JSON] = []
    if take("]") { return .array(elements) }
    repeat {
      elements.append(try value(depth: depth + 1))
    } while take(",")
    guard take("]") else { throw expected("']'") }
    return .array(elements)
  }

  mutating func string() throws(JSONError) -> String {
    offset += 1
    var text: [UInt8] = []
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\""):
        offset += 1
        return String(decoding: text, as: UTF8.self)
      case UInt8(ascii: "\\"):
        offset += 1
        text.append(contentsOf: String(try escape()).utf8)
      case 0..<32:
        throw expected("a printable character")
      default:
        text.append(byte)
        offset += 1
      }
    }
    throw expected("'\"'")
  }

  mutating func escape() throws(JSONError) -> Character {
    guard let byte = next else { throw expected("an escape") }
    offset += 1
    switch byte {
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Character(Unicode.Scalar(byte))
    case UInt8(ascii: "u"):
      let high = try codeUnit()
      if (0xd800..<0xdc00).contains(high), next == UInt8(ascii: "\\") {
        offset += 1
        guard next == UInt8(ascii: "u") else { throw expected("the second half of a surrogate pair") }
        offset += 1
        let low = try codeUnit()
        guard (0xdc00..<0xe000).contains(low),
          let scalar = Unicode.Scalar(0x10000 + (high - 0xd800) << 10 + (low - 0xdc00))
        else { throw expected("the second half of a surrogate pair") }
        return Character(scalar)
      }
      guard let scalar = Unicode.Scalar(high) else { throw expected("a Unicode scalar") }
      return Character(scalar)
    default: throw expected("an escape")
    }
  }

  mutating func codeUnit() throws(JSONError) -> UInt32 {
    guard offset + 4 <= bytes.count,
      let value = UInt32(String(decoding: bytes[offset..<offset + 4], as: UTF8.self), radix: 16)
    else { throw expected("four hexadecimal digits") }
    offset += 4
    return value
  }

  mutating func number() throws(JSONError) -> JSON {
    let start = offset
    while let byte = next, (48...57).contains(byte) || [43, 45, 46, 69, 101].contains(byte) { offset += 1 }
    let text = String(decoding: bytes[start..<offset], as: UTF8.self)
    if let value = Int(text), text != "+", !text.hasPrefix("+") { return .integer(value) }
    guard let value = Double(text), !text.hasPrefix("+"), !text.hasPrefix(".") else {
      offset = start
      throw expected("a value")
    }
    return .number(value)
  }
}
