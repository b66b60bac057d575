// Marks that mail programs put before quoted lines.

/// Finds the quote marks at the beginning of lines.
struct QuoteMarks {
  /// How many lines had marks.
  private var quoted = 0
  /// How many of them had text right behind the last mark.
  private var attached = 0

  /// How many bytes the marks (`> `, `>> `, `| `) take, in front of the text and the blanks that belong to it.
  ///
  /// Where some lines have text right behind their marks, a blank there is the text's own: it tells the functions of a trace from
  /// the rest of cut ones.
  mutating func take(_ line: [UInt8]) -> Int {
    let end = Self.length(line)
    guard end > 0, end < line.count else { return end }
    let hasBlank = line[end - 1] == .blank
    quoted += 1
    if !hasBlank { attached += 1 }
    return hasBlank && attached > quoted / 8 ? end - 1 : end
  }

  /// How many bytes the marks take, each with a blank.
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
