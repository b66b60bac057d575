// What an operation costs.

import KernelStacks

/// A cost, or the sum of several.
struct Cost {
  var instructions = 0
  var tlbInvalidations = 0
  var locks = 0
  var count = 0
  var worst = 0
  /// The cycles of the CPU; `nil` where none are counted.
  var cycles: Int?
  /// Its number in the memory model.
  var modelled = 0

  mutating func add(_ cost: Cost) {
    cycles = count == 0 ? cost.cycles : Self.sum(cycles, cost.cycles)
    instructions += cost.instructions
    tlbInvalidations += cost.tlbInvalidations
    locks += cost.locks
    count += cost.count
    worst = max(worst, cost.worst)
    modelled = modelledSum(modelled, cost.modelled)
  }

  /// Takes a part with a row of its own off each of the operations.
  mutating func takeOff(_ part: Cost) {
    instructions -= part.instructions * count
    worst -= part.instructions
    cycles = Self.sum(cycles, part.cycles.map { -$0 * count })
  }

  private static func sum(_ one: Int?, _ other: Int?) -> Int? {
    guard let one, let other else { return nil }
    return one + other
  }

  /// The mean number of instructions, rounded up.
  var mean: Int { count == 0 ? 0 : (instructions + count - 1) / count }

  /// The mean number of cycles, rounded up; what surrounds a very short operation can make it 0.
  var meanCycles: Int? { cycles.map { count == 0 ? 0 : max(0, ($0 + count - 1) / count) } }
}
