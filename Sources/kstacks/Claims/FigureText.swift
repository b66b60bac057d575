// A figure as it is written, compared with another: numbers by value, all else by letter.

/// The numbers of a text, and what is around them.
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

  /// Whether both say the same: the same words, and numbers that differ by at most 2 % or 2.
  ///
  /// Counts move a little with the size of the image, which decides how many frames are free, and with the compiler; 0 is
  /// exactly 0, and what has decimal places differs by at most 2 % or 0.1.
  func agrees(with other: FigureText) -> Bool {
    guard around == other.around else { return false }
    return zip(numbers, other.numbers).allSatisfy { mine, theirs in
      if mine == 0 || theirs == 0 { return mine == theirs }
      let isWhole = mine == mine.rounded() && theirs == theirs.rounded()
      return abs(mine - theirs) <= max(isWhole ? 2 : 0.1, 0.02 * max(mine, theirs)) + 1e-9
    }
  }
}
