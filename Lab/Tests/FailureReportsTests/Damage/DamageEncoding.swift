// The encodings in which mail and the web carry a log.

extension Damager {
  /// The bytes of a damaged log.
  mutating func encoded(_ lines: [DamagedLine], sources: [Int], isLossless: Bool) -> DamagedLog {
    var names = takeNames()
    var text: [(text: String, origins: Set<Int>)] = lines.map { ($0.text, $0.origins) }
    let kind = random.next(below: 100)
    let hasControls = lines.contains { $0.text.contains("\u{1b}") || $0.text.contains("\t") }
    if kind < 12, !hasControls {
      names.append("HTML")
      text = html(text)
    } else if kind < 26, !hasControls {
      names.append("quoted-printable")
      text = quotedPrintable(text)
    }
    let isCRLF = random.next(below: 5) == 0
    if isCRLF { names.append("CRLF") }
    let end = isCRLF ? "\r\n" : "\n"
    var whole = text.map(\.text).joined(separator: end)
    if random.next(below: 4) > 0 { whole += end }
    var bytes = Array(whole.utf8)
    if kind > 96 {
      names.append("UTF-16")
      bytes = [0xff, 0xfe] + whole.utf16.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
    }
    return DamagedLog(
      sources: sources, bytes: bytes, origins: text.map(\.origins), damages: names, isLossless: isLossless)
  }

  private mutating func html(_ lines: [(text: String, origins: Set<Int>)]) -> [(
    text: String, origins: Set<Int>
  )] {
    let isNumeric = random.next(below: 4) == 0
    let frame = random.next(below: 4)
    var result = lines.map { line in
      var text = ""
      for character in line.text {
        switch character {
        case "<": text += isNumeric ? "&#60;" : "&lt;"
        case ">": text += isNumeric ? "&#x3e;" : "&gt;"
        case "&": text += "&amp;"
        case "\"": text += isNumeric ? "&#34;" : "&quot;"
        case "+" where isNumeric: text += "&#43;"
        case "(" where isNumeric: text += "&#40;"
        default: text.append(character)
        }
      }
      switch frame {
      case 1: text += "<br>"
      case 2: text = "<span class=\"line\">\(text)</span>"
      case 3: text = "<div>\(text)</div>"
      default: break
      }
      return (text: text, origins: line.origins)
    }
    result.insert((text: "<html><body><pre>", origins: []), at: 0)
    result.append((text: "</pre></body></html>", origins: []))
    return result
  }

  private func quotedPrintable(
    _ lines: [(text: String, origins: Set<Int>)]
  ) -> [(text: String, origins: Set<Int>)] {
    var result: [(text: String, origins: Set<Int>)] = []
    for line in lines {
      var part = ""
      var column = 0
      let characters = Array(line.text.utf8)
      for (index, byte) in characters.enumerated() {
        let isLast = index + 1 == characters.count
        let isPlain = byte > 0x20 && byte < 0x7f && byte != UInt8(ascii: "=") || byte == 0x20 && !isLast
        let hex = String(byte, radix: 16, uppercase: true)
        let code = isPlain ? String(UnicodeScalar(byte)) : "=" + (hex.count == 1 ? "0" : "") + hex
        if column + code.count > 75 {
          result.append((text: part + "=", origins: line.origins))
          part = ""
          column = 0
        }
        part += code
        column += code.count
      }
      result.append((text: part, origins: line.origins))
    }
    return result
  }
}
