// What it costs to charge a stack to a group of threads with a limit, and to take it off.

import KernelStacks

extension StackBenchmark {
  /// Measures cached stacks that are charged to a group from what its CPU has in advance.
  ///
  /// Linear stacks are charged to no group: there is nothing to measure.
  func measureCharged<Console: TextSink>(
    clearing: Cost, _ stacks: borrowing BareStacks<M>, _ rows: inout BenchmarkRows<Console>,
    _ checks: inout ScenarioChecks<Console>
  ) {
    guard let group = try? stacks.makeGroup(limitFrames: Int.max) else { return }
    let number = Self.few - 1
    _ = free(number, stacks)
    var allocation = Cost()
    var release = Cost()
    var spread = CostSpread()
    // The first takes a batch of the limit, under the lock.
    for round in 0...Self.sample {
      var address: VirtualAddress?
      let cost = measure {
        if let stack = try? stacks.allocate(node: nil, chargedTo: group) { address = stack.detach() }
      }
      guard let address else { break }
      addresses[number] = address
      let freed = free(number, stacks)
      if round > 0 {
        allocation.add(cost)
        release.add(freed)
        spread.add(freed.instructions)
      }
    }
    allocation.takeOff(clearing)
    rows.row("allocate cached stack, charged to a group", allocation, live: Self.few)
    rows.row("free charged stack into cache", release, live: Self.few, spread: spread)
    checks.check(
      "a cached stack that is charged to a group takes no lock, nor does its free",
      allocation.count == Self.sample && allocation.locks + release.locks == 0)
    var isSettled = allocate(number, stacks) != nil
    do throws(ThreadStackError) { try stacks.removeGroup(group) } catch { isSettled = false }
    checks.check("nothing stays charged to the group", isSettled)
  }
}
