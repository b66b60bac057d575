// What growth costs without the exception that leads to it, and what switching to a thread costs because of it.

import KernelStacks

extension StackBenchmark {
  /// Measures the check at switch-in, growth by one page and to the end, and refills.
  ///
  /// - Returns: the check's cost while the reserve is full; `nil` if a stack did not grow.
  func measureGrowth<Console: TextSink>(
    limit: Int?, _ stacks: borrowing BareStacks<M>, _ rows: inout BenchmarkRows<Console>
  ) -> Int? {
    let numbers = Self.few..<Self.few + Self.sample
    guard fill(numbers.lowerBound, numbers.upperBound, stacks) != nil else { return nil }
    let size = stacks.geometry.size
    let grower = stacks.grower
    let lender = stacks.lender
    var check = Cost()
    var lending = Cost()
    var onePage = Cost()
    var refill = Cost()
    var allPages = Cost()
    var failures = 0
    for number in numbers {
      let base = addresses[number]
      var mayRun = false
      stacks.fillReserve()
      check.add(measure { mayRun = stacks.prepareToRun(base) })
      if !mayRun { failures += 1 }
      if machine.updatesAccessFlags {
        // As a switch in Swift has it, inlined.
        @inline(__always) func lendAndTakeBack() {
          lender.lend(to: base)
          lender.takeBack()
        }
        lending.add(measure(lendAndTakeBack))
        if stacks.mappedPageCount(base) != 1 { failures += 1 }
      }
      var growth = StackGrowth.notGrowth
      onePage.add(measure { growth = grower.grow(at: base + (size - pageSize - 8), runningOn: base) })
      if growth != .grown { failures += 1 }
      refill.add(measure { mayRun = stacks.prepareToRun(base) })
      if !mayRun { failures += 1 }
      if size > 2 * pageSize {
        allPages.add(measure { growth = grower.grow(at: base, runningOn: base) })
        if growth != .grown { failures += 1 }
      }
    }
    let live = numbers.upperBound
    rows.row("switch-in check, reserve full", check, live: live, limit: limit)
    if machine.updatesAccessFlags { rows.row("lend the other pages, take them back", lending, live: live) }
    rows.row("grow by a page, without exception", onePage, live: live)
    rows.row("switch-in check, one frame to refill", refill, live: live)
    rows.row("grow by the other pages, without exception", allPages, live: live)
    var spread = CostSpread()
    let freed = drain(numbers.lowerBound, numbers.upperBound, spread: &spread, stacks)
    rows.row("free grown stack", freed, live: live, spread: spread)
    stacks.reclaim(target: Int.max)
    stacks.fillReserve()
    return failures == 0 ? check.mean : nil
  }
}
