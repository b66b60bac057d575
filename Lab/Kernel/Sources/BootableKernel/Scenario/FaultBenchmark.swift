// The full cost of growth on a fault: the faulting store, exception entry, growth, return, and the repeated store.
import AArch64Machine
import CAArch64
import KernelStacks
import Scenarios

/// Measures growth by one page on a fault.
///
/// The boot task stores to a stack that is recorded as its own for the time.
///
/// - Returns: whether each fault was growth and its cost within its bound.
func runFaultBenchmark() -> Bool {
  let machine = AArch64()
  let boot = Thread.boot
  let ownBase = boot.pointee.stackBase
  let stack: ThreadStack
  do {
    stack = try KernelObjects.bareStacks.pointee.allocate(node: nil)
  } catch {
    fail("stack to grow", error)
  }
  let state = ca_disable_interrupts()
  boot.pointee.stackBase = stack.base.rawValue
  var worst = 0
  var invalidations = 0
  var modelled = 0
  var page = stack.size - 2 * pageSize
  while page >= 0 {
    let address = stack.base.rawValue + UInt(page)
    let empty = cost(of: {}, machine)
    let before = machine.counters.tlbInvalidations
    worst = max(worst, cost(of: { ca_store(address, 1) }, machine) - empty)
    modelled = modelledSum(modelled, latestModelledOperation())
    invalidations += Int(machine.counters.tlbInvalidations - before)
    page -= pageSize
  }
  boot.pointee.stackBase = ownBase
  ca_restore_interrupts(state)
  let isWhole = KernelObjects.bareStacks.pointee.mappedPageCount(stack.base) * pageSize == stack.size
  writeBenchmarkRow(
    "growth fault, store included, worst", strategy: .growing,
    instructions: worst,
    tlbInvalidations: invalidations, live: 1, limit: 150, modelled: modelled, to: Console())
  KernelObjects.bareStacks.pointee.free(stack)
  let passed = check("each fault mapped one page, without a TLB invalidation", isWhole && invalidations == 0)
  return check("growth on a fault takes at most 150 instructions, the store included", worst <= 150) && passed
}

@inline(__always)
private func cost(of body: () -> Void, _ machine: AArch64) -> Int {
  let before = retiredInstructions(machine)
  body()
  return Int(retiredInstructions(machine) &- before)
}
