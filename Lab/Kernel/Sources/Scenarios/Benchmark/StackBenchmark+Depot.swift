// What freed stacks cost that CPUs share: bursts that the depot absorbs, and shrinking.

import KernelStacks

extension StackBenchmark {
  /// How many stacks a burst has: more than a magazine, fewer than the depot keeps at most.
  private static var burst: Int { 128 }

  /// Measures bursts of allocations and frees that have been seen before, which the depot serves.
  func measureBursts<Console: TextSink>(
    clearing: Cost, isCounted: Bool, _ stacks: borrowing BareStacks<M>, _ rows: inout BenchmarkRows<Console>,
    _ checks: inout ScenarioChecks<Console>
  ) {
    stacks.reclaim(target: Int.max)
    let first = Self.few
    let end = first + Self.burst
    var allocation = Cost()
    var release = Cost()
    var spread = CostSpread()
    for round in 0...Self.sample / Self.burst {
      guard let allocated = fill(first, end, stacks) else {
        checks.check("there is memory for bursts of stacks", false)
        return
      }
      // The first round is what makes the depot expect the others.
      if round == 1 { spread = CostSpread() }
      let freed = drain(first, end, spread: &spread, stacks)
      if round > 0 {
        allocation.add(allocated)
        release.add(freed)
      }
    }
    allocation.takeOff(clearing)
    rows.row("allocate stack in a burst", allocation, live: first)
    rows.worstRow("allocate stack in a burst, worst", allocation, live: first)
    rows.row("free stack in a burst", release, live: first, spread: spread)
    rows.worstRow("free stack in a burst, worst", release, live: first)
    checks.check(
      "bursts that come again cost no invalidation", allocation.tlbInvalidations + release.tlbInvalidations == 0
    )
    if isCounted {
      checks.check(
        "bursts take the lock once for four allocations or frees",
        (allocation.locks + release.locks) * 4 <= allocation.count + release.count)
    }
    stacks.reclaim(target: Int.max)
  }

  /// Measures taking the dead pages of sleeping threads, one invalidation for all of them.
  ///
  /// - Returns: whether each gave all pages but one.
  func measureShrinking<Console: TextSink>(
    _ stacks: borrowing BareStacks<M>, _ rows: inout BenchmarkRows<Console>
  ) -> Bool {
    let numbers = Self.few..<Self.few + Self.sample
    guard fill(numbers.lowerBound, numbers.upperBound, stacks) != nil else { return false }
    let size = stacks.geometry.size
    let dead = size / pageSize - 1
    var failures = 0
    for number in numbers {
      let base = addresses[number]
      if !stacks.prepareToRun(base) || dead > 0 && stacks.grower.grow(at: base, runningOn: base) != .grown {
        failures += 1
      }
    }
    stacks.fillReserve()
    var batch = ShrinkBatch()
    var retire = Cost()
    var restore = Cost()
    var release = Cost()
    var count = 0
    for number in numbers {
      let base = addresses[number]
      let pointer = base + (size - 512)
      retire.add(measure { count = stacks.retireDeadPages(of: base, below: pointer, into: &batch) })
      if count != dead { failures += 1 }
      restore.add(measure { count = stacks.restoreRetiredPages(of: base) })
      if count != dead { failures += 1 }
      stacks.retireDeadPages(of: base, below: pointer, into: &batch)
    }
    let invalidation = measure { stacks.completeInvalidation(of: &batch) }
    for number in numbers {
      release.add(measure { count = stacks.releaseRetiredPages(of: addresses[number]) })
      if count != dead { failures += 1 }
    }
    let live = numbers.upperBound
    rows.row("unmap a sleeping thread's dead pages", retire, live: live)
    rows.row("restore a sleeping thread's dead pages", restore, live: live)
    rows.row("invalidate dead pages, of all threads together", invalidation, live: live)
    rows.row("give back a sleeping thread's dead pages", release, live: live)
    _ = drain(numbers.lowerBound, numbers.upperBound, stacks)
    stacks.reclaim(target: Int.max)
    stacks.fillReserve()
    return failures == 0
  }
}
