// Marks that mail programs put before quoted lines.

/// Finds the quote marks at the beginning of a line.
enum QuoteMarks {
  /// How many bytes the marks (`> `, `>> `, `| `) take, in front of the text and the blanks that belong to it.
  static func length(_ line: [UInt8]) -> Int {
    var end = 0
    var index = 0
    while index < line.count {
      while index < line.count, line[index] == .blank, index - end < 4 { index += 1 }
      guard index < line.count else { break }
      let next = index + 1 < line.count ? line[index + 1] : .blank
      let isMark: Bool
      switch line[index] {
      // A wrapped `<8011b398>]` can begin with the bracket.
      case UInt8(ascii: ">"): isMark = next != UInt8(ascii: "]") && next != UInt8(ascii: ")")
      // Flags are joined by the other: `GFP_KERNEL|__GFP_ZERO`.
      case UInt8(ascii: "|"): isMark = next == .blank
      default: isMark = false
      }
      guard isMark else { break }
      index += 1
      if index < line.count, line[index] == .blank { index += 1 }
      end = index
    }
    return end
  }
}
