// JSON text, written member by member in a fixed order.

/// Writes JSON.
struct JSONText {
  private(set) var text = ""

  mutating func raw(_ value: String) { text += value }

  mutating func string(_ value: String) {
    text.append("\"")
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case _ where scalar.value < 0x20:
        let hex = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: text.unicodeScalars.append(scalar)
      }
    }
    text.append("\"")
  }

  mutating func strings(_ values: [String]) {
    text += "["
    for (index, value) in values.enumerated() {
      if index > 0 { text += ", " }
      string(value)
    }
    text += "]"
  }

  /// A member with its key, behind a comma unless it is the first.
  mutating func member(_ key: String, isFirst: Bool = false, _ write: (inout JSONText) -> Void) {
    if !isFirst { text += "," }
    text += "\n"
    string(key)
    text += ": "
    write(&self)
  }

  mutating func member(_ key: String, _ value: String?) {
    member(key) { if let value { $0.string(value) } else { $0.raw("null") } }
  }

  mutating func member(_ key: String, _ value: (some BinaryInteger)?) {
    member(key) { $0.raw(value.map { "\($0)" } ?? "null") }
  }
}
