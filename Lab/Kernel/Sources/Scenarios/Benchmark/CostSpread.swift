// How often an operation took how many instructions, by powers of two: a mean tells nothing of the one that waits for all.

/// Costs, counted by their magnitude: at most 65,535 of them, in 32 bytes.
struct CostSpread {
  private var counts = InlineArray<16, UInt16>(repeating: 0)

  /// How many of the costs took from 2ⁿ to 2ⁿ⁺¹ - 1 instructions.
  ///
  /// Those that took less than 1 are in the first; those that took 2¹⁶ or more, in the last.
  subscript(power: Int) -> Int { Int(counts[power]) }

  /// How many magnitudes there are up to the largest that was seen.
  var count: Int {
    var count = counts.count
    while count > 0, counts[count - 1] == 0 { count -= 1 }
    return count
  }

  mutating func add(_ instructions: Int) {
    counts[min(Int.bitWidth - 1 - max(instructions, 1).leadingZeroBitCount, counts.count - 1)] += 1
  }
}
