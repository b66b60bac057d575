// The costs of stacks whose frames idle CPUs have cleared before.

import KernelStacks

extension StackBenchmark {
  /// Measures new stacks with nothing cached, for which nothing is left to be cleared.
  ///
  /// Contiguous blocks are not kept zeroed: there is nothing to measure for linear stacks.
  func measureFromZeroed<Console: TextSink>(
    _ strategy: StackStrategy, isLimited: Bool, _ stacks: borrowing BareStacks<M>,
    _ rows: inout BenchmarkRows<Console>, _ checks: inout ScenarioChecks<Console>
  ) {
    if strategy == .linear { return }
    let limit = strategy == .growing ? StackCostLimits().fromZeroedFrame : StackCostLimits().fromZeroed
    stacks.reclaim(target: Int.max)
    let numbers = Self.few..<Self.few + Self.sample
    guard let new = fill(numbers.lowerBound, numbers.upperBound, zeroing: true, stacks) else {
      checks.check("there is memory for stacks of zeroed frames", false)
      return
    }
    rows.row("allocate new stack from zeroed frames", new, live: Self.few, limit: isLimited ? limit : nil)
    rows.worstRow("allocate new stack from zeroed frames, worst", new, live: Self.few)
    _ = drain(numbers.lowerBound, numbers.upperBound, stacks)
    stacks.reclaim(target: Int.max)
    // The rows that follow are of frames that have to be cleared.
    stacks.frames.drain()
    if isLimited {
      checks.check("a new stack from zeroed frames costs no more than its limit", new.mean <= limit)
    }
  }
}
