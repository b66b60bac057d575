// Comparison of figures in text: numbers by value, all else literally.

/// The numbers of a text, and the text around them.
struct FigureText {
  private var numbers: [Double] = []
  private var around: [String] = [""]

  init(_ text: String) {
    var digits = ""
    func finish() {
      guard !digits.isEmpty else { return }
      numbers.append(Double(digits.filter { $0 != "," }) ?? 0)
      around.append("")
      digits = ""
    }
    for character in text {
      if character.isASCII, character.isNumber || (!digits.isEmpty && (character == "," || character == ".")) {
        digits.append(character)
      } else {
        finish()
        around[around.count - 1].append(character)
      }
    }
    finish()
  }

  /// Whether both agree: the same words, and numbers that differ by at most that many percent or 2.
  ///
  /// 0 must be 0; numbers with decimal places may differ by the percentage or by 0.1.
  func agrees(with other: FigureText, withinPercent percent: Double = 2) -> Bool {
    guard around == other.around else { return false }
    return zip(numbers, other.numbers).allSatisfy { mine, theirs in
      if mine == 0 || theirs == 0 { return mine == theirs }
      let isWhole = mine == mine.rounded() && theirs == theirs.rounded()
      return abs(mine - theirs) <= max(isWhole ? 2 : 0.1, percent / 100 * max(mine, theirs)) + 1e-9
    }
  }
}
