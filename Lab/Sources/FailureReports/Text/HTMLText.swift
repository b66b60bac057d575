// Text out of HTML, as saved from trackers and mail archives.

/// Takes text out of HTML line by line.
struct HTMLText {
  /// Whether the line before ended inside a tag.
  private var isInsideTag = false

  /// Names of the tags that are taken out; what else stands in angle brackets is a kernel's own (`<4>`, `<TASK>`, `<size>`).
  private static let tagNames: Set<String> = [
    "a", "b", "blockquote", "body", "br", "code", "center", "div", "em", "font", "h1", "h2", "h3", "h4", "h5",
    "h6", "head", "hr", "html", "i", "img", "kbd", "li", "link", "meta", "o:p", "ol", "p", "pre", "samp",
    "small",
    "span", "strong", "style", "sub", "sup", "table", "tbody", "td", "th", "thead", "title", "tr", "tt", "u",
    "ul",
    "!doctype",
  ]

  /// Those of them that end a line.
  private static let lineEnds: Set<String> = [
    "br", "p", "div", "tr", "li", "pre", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "table",
    "body",
  ]

  private static let namedEntities: [String: [UInt8]] = [
    "lt": [0x3c], "gt": [0x3e], "amp": [0x26], "quot": [0x22], "apos": [0x27], "nbsp": [0x20], "colon": [0x3a],
    "ast": [0x2a], "lpar": [0x28], "rpar": [0x29], "equals": [0x3d], "plus": [0x2b], "lowbar": [0x5f],
    "NewLine": [0x20], "Tab": [0x20], "lbrack": [0x5b], "rbrack": [0x5d], "lsqb": [0x5b], "rsqb": [0x5d],
    "comma": [0x2c], "period": [0x2e], "num": [0x23], "vert": [0x7c], "shy": [], "zwnj": [], "ensp": [0x20],
    "emsp": [0x20], "thinsp": [0x20], "times": [0x2a],
  ]

  /// Whether a text that begins with `sample` is HTML.
  static func isUsed(in sample: [UInt8]) -> Bool {
    if sample.contains("&lt;") || sample.contains("&gt;") || sample.contains("&nbsp;")
      || sample.contains("&#43;") || sample.contains("&#x") || sample.contains("&amp;")
      || sample.contains("&#39;") || sample.contains("&#160;") || sample.contains("&quot;")
    {
      return true
    }
    var index = 0
    var tags = 0
    while tags < 2, let found = sample.offset(of: "<", from: index) {
      index = found + 1
      if tag(in: sample, at: found) != nil { tags += 1 }
    }
    return tags >= 2
  }

  /// Takes the tags out of a line and decodes its entities; a tag such as `<br>` ends a line of text.
  mutating func decode(_ line: TextLine) -> [TextLine] {
    let bytes = line.bytes
    guard isInsideTag || bytes.contains(UInt8(ascii: "<")) || bytes.contains(UInt8(ascii: "&")) else {
      return [line]
    }
    var result: [TextLine] = []
    var text = TextLine([], number: line.number)
    var index = 0
    if isInsideTag {
      guard let end = bytes.firstIndex(of: UInt8(ascii: ">")) else { return [] }
      isInsideTag = false
      index = end + 1
    }
    while index < bytes.count {
      let byte = bytes[index]
      if byte == UInt8(ascii: "<"), let tag = Self.tag(in: bytes, at: index) {
        if Self.lineEnds.contains(tag.name) {
          if !text.bytes.isEmpty { result.append(text) }
          text = TextLine([], number: line.number(at: index))
        }
        guard let end = tag.end else {
          isInsideTag = true
          break
        }
        index = end
        continue
      }
      if let joint = line.joints.first(where: { $0.offset == index }) {
        text.joints.append(TextLine.Origin(offset: text.bytes.count, number: joint.number))
      }
      if byte == UInt8(ascii: "&"), let entity = Self.entity(in: bytes, at: index) {
        text.bytes += entity.bytes
        index = entity.end
      } else {
        text.bytes.append(byte)
        index += 1
      }
    }
    if !text.bytes.isEmpty || result.isEmpty { result.append(text) }
    return result
  }

  /// The known tag that begins at `start`, and where it ends: `nil` if not in this line.
  private static func tag(in bytes: [UInt8], at start: Int) -> (name: String, end: Int?)? {
    var scanner = ByteScanner(bytes, at: start + 1)
    _ = scanner.take(UInt8(ascii: "/"))
    let name = scanner.run { $0.isWord || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "!") }
    guard !name.isEmpty, name.count <= 10 else { return nil }
    let after = scanner.current
    guard
      after == .blank || after == UInt8(ascii: ">") || after == UInt8(ascii: "/") || after == 0x09
        || scanner.isAtEnd
    else { return nil }
    // Kernels mark kinds of stacks with upper-case names: `<TASK>`, `<IRQ>`.
    let lowercase = bytes.text(name).lowercased()
    guard tagNames.contains(lowercase) else { return nil }
    let end = bytes[scanner.index...].firstIndex(of: UInt8(ascii: ">"))
    return (lowercase, end.map { $0 + 1 })
  }

  /// The entity that begins at `start`.
  private static func entity(in bytes: [UInt8], at start: Int) -> (bytes: [UInt8], end: Int)? {
    var scanner = ByteScanner(bytes, at: start + 1)
    if scanner.take(UInt8(ascii: "#")) {
      let isHex = scanner.take(UInt8(ascii: "x")) || scanner.take(UInt8(ascii: "X"))
      guard let code = isHex ? scanner.hexNumber() : scanner.number(), scanner.take(UInt8(ascii: ";")),
        code <= 0x10ffff, let scalar = Unicode.Scalar(UInt32(code))
      else { return nil }
      return (Array(String(Character(scalar)).utf8), scanner.index)
    }
    let name = scanner.run { $0.isLetter }
    guard !name.isEmpty, name.count <= 8, scanner.take(UInt8(ascii: ";")),
      let decoded = namedEntities[bytes.text(name)]
    else { return nil }
    return (decoded, scanner.index)
  }
}
