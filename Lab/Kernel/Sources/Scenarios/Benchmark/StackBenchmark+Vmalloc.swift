// What the vmalloc area costs by itself: areas of four pages, while a thousand are in use.

import KernelStacks

/// What operations on areas of four pages may cost at most, in instructions.
struct VmallocCostLimits {
  /// Allocating an area, clearing not counted.
  var allocation = 2000
  /// The dearest single free.
  var worstFree = 5000
}

extension StackBenchmark {
  private static var vmallocPages: Int { 4 }
  private static var vmallocLive: Int { 1000 }
  /// Where the addresses of areas are kept: those of stacks in use lie below.
  private var areas: UnsafeMutablePointer<VirtualAddress> { addresses + Self.many }

  /// Measures allocating and freeing areas.
  ///
  /// - Parameter clearing: what clearing four pages costs, page by page.
  /// - Returns: the costs; `nil` if an area could not be had.
  func measureVmalloc<Console: TextSink>(
    limits: VmallocCostLimits?, clearing: Cost, _ stacks: borrowing BareStacks<M>,
    _ rows: inout BenchmarkRows<Console>
  ) -> (allocation: Cost, release: Cost)? {
    var count = 0
    var allocation = Cost()
    var release = Cost()
    var spread = CostSpread()
    while count < Self.vmallocLive, allocateArea(count, stacks) != nil { count += 1 }
    var isComplete = count == Self.vmallocLive
    for number in 0..<Self.sample where isComplete {
      // Not the one that came last: frames and places go round.
      let victim = number &* 37 % count
      let freed = freeArea(victim, stacks)
      spread.add(freed.instructions)
      release.add(freed)
      guard let cost = allocateArea(victim, stacks) else {
        areas[victim] = areas[count &- 1]
        count -= 1
        isComplete = false
        break
      }
      allocation.add(cost)
    }
    for number in 0..<count { _ = freeArea(number, stacks) }
    _ = stacks.arena.flush(frames: stacks.frames)
    guard isComplete else { return nil }
    allocation.takeOff(clearing)
    rows.row("vmalloc of 4 pages", allocation, live: count, limit: limits?.allocation)
    rows.worstRow("vmalloc of 4 pages, worst", allocation, live: count)
    rows.row("vfree of 4 pages", release, live: count, spread: spread)
    rows.worstRow("vfree of 4 pages, worst", release, live: count, limit: limits?.worstFree)
    return (allocation, release)
  }

  private func allocateArea(_ number: Int, _ stacks: borrowing BareStacks<M>) -> Cost? {
    var address: VirtualAddress?
    let cost = measure {
      address = try? stacks.arena.vmalloc(
        size: Self.vmallocPages * pageSize, caller: "benchmark", frames: stacks.frames)
    }
    guard let address else { return nil }
    areas[number] = address
    return cost
  }

  private func freeArea(_ number: Int, _ stacks: borrowing BareStacks<M>) -> Cost {
    let address = areas[number]
    return measure { try? stacks.arena.vfree(address, frames: stacks.frames) }
  }
}
