// What clearing a cached stack costs where the CPU keeps dirty state: by the pages that were used.

import KernelStacks

extension StackBenchmark {
  /// The cost of clearing a cached stack that was not used: all of it, or, where the CPU keeps dirty state, a look at its
  /// entries.
  ///
  /// - Parameter atOnce: what clearing all of it costs.
  func measureClearingCached(_ atOnce: Cost, _ stacks: borrowing BareStacks<M>) -> Cost {
    clearingCost(usedPages: 0, stacks) ?? atOnce
  }

  /// Measures the clearing of cached stacks of which some pages were used.
  ///
  /// - Parameter unused: the cost for a stack that was not used.
  func measureDirty<Console: TextSink>(
    _ unused: Cost, _ stacks: borrowing BareStacks<M>, _ rows: inout BenchmarkRows<Console>,
    _ checks: inout ScenarioChecks<Console>
  ) {
    guard stacks.clearsOnlyDirtyPages else { return }
    let pages = stacks.geometry.pageCount
    rows.row("clear cached stack, no page used", unused, live: Self.few)
    guard let one = clearingCost(usedPages: 1, stacks), let all = clearingCost(usedPages: pages, stacks) else {
      return checks.check("the CPU says which pages were used", false)
    }
    rows.row("clear cached stack, 1 page used", one, live: Self.few)
    rows.row("clear cached stack, all pages used", all, live: Self.few)
  }

  /// What clearing a stack costs whose topmost pages were used; `nil` if its entries don't say so.
  private func clearingCost(usedPages: Int, _ stacks: borrowing BareStacks<M>) -> Cost? {
    guard stacks.clearsOnlyDirtyPages else { return nil }
    let number = Self.few - 1
    // A new stack, none of whose pages is dirty.
    _ = free(number, stacks)
    stacks.reclaim(target: Int.max)
    guard allocate(number, stacks) != nil else { return nil }
    let base = addresses[number]
    let bytes = usedPages * pageSize
    if bytes > 0 { machine.clear(base + (stacks.geometry.size - bytes), byteCount: bytes) }
    // Twice less once: what surrounds it in a measurement is a good part of what a mere look costs.
    let once = measure { stacks._clearDirtyPages(of: base) }
    var cost = measure {
      stacks._clearDirtyPages(of: base)
      stacks._clearDirtyPages(of: base)
    }
    cost.takeOff(once)
    return stacks.dirtyPageCount(base) == usedPages ? cost : nil
  }
}
