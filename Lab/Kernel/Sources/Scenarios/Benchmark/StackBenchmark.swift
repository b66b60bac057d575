// What stacks cost: instructions and TLB invalidations of each operation, and memory besides the stacks themselves.
//
// Each operation is measured alone, with interrupts off, between two readings of the machine's counters; what two
// readings with nothing between them cost is subtracted. Clearing has rows of its own and is subtracted from the
// allocations.

import KernelProcesses
import KernelStacks

/// The allocator as it is used in earnest: nothing between it and its frames.
public typealias BareStacks<M: PageTableMachine> = ThreadStackAllocator<M, BuddyAllocator<M>, VmallocArea<M>>

/// Measures the operations of a stack allocator and writes a line for each.
///
/// - Parameters:
///   - options: for the strategy's name.
///   - stacks: an allocator none of whose stacks is in use.
///   - console: where the lines go.
/// - Returns: whether the measurements could be made and the costs are within their bounds.
public func runStackBenchmark<M: ScenarioMachine, Console: TextSink>(
  _ options: ScenarioOptions, stacks: borrowing BareStacks<M>, console: Console
) -> Bool {
  let benchmark: StackBenchmark<M>
  // The area's own state stays once it is there.
  if let area = try? stacks.arena.vmalloc(size: pageSize, caller: "benchmark", frames: stacks.frames) {
    try? stacks.arena.vfree(area, frames: stacks.frames)
  }
  _ = stacks.arena.flush(frames: stacks.frames)
  stacks.reclaim(target: Int.max)
  let freeFrames = stacks.frames.freeFrames
  do {
    benchmark = try StackBenchmark(stacks)
  } catch {
    writeError(error, to: console)
    return false
  }
  let passed = benchmark.run(stacks, options: options, console: console)
  benchmark.release(stacks)
  stacks.reclaim(target: Int.max)
  var checks = ScenarioChecks(console)
  checks.check("after reclaim, as many frames are free as before", stacks.frames.freeFrames == freeFrames)
  return checks.allHeld && passed
}

/// The measurements of one allocator, and where it keeps the addresses of stacks in use.
struct StackBenchmark<M: ScenarioMachine> {
  let machine: M
  private let block: PageFrame
  let addresses: UnsafeMutablePointer<VirtualAddress>
  private let empty: Cost
  private let bytesPerStack: Int
  /// What of a stack is mapped, and cleared, when it is handed out.
  private let initialBytes: Int

  static var few: Int { 10 }
  static var many: Int { 4000 }
  /// The most frames of a machine, for each of many stacks, that these stacks can be said to fill: those of 128 MiB.
  private static var framesForEachStack: Int { 9 }
  /// More than a stack takes, tables included.
  private static var framesZeroedAtOnce: Int { 16 }
  static var sample: Int { 1024 }
  /// Room for the addresses of all stacks in use at a time.
  private static var blockOrder: Int { 4 }

  init(_ stacks: borrowing BareStacks<M>) throws(FrameSourceError) {
    machine = stacks.machine
    block = try stacks.frames.allocate(FrameRequest(order: Self.blockOrder, purpose: .metadata))
    addresses = machine.pointer(to: block.physicalAddress).assumingMemoryBound(to: VirtualAddress.self)
    bytesPerStack = stacks.geometry.size
    initialBytes = stacks.configuration.strategy == .growing ? pageSize : bytesPerStack
    // The first reading brings code and counters into their steady state.
    _ = Self.measured(machine, nothing: Cost()) {}
    empty = Self.measured(machine, nothing: Cost()) {}
  }

  func release(_ stacks: borrowing BareStacks<M>) {
    returnFrame(block, order: Self.blockOrder, to: stacks.frames)
  }

  @inline(__always)
  static func measured(_ machine: M, nothing: Cost, _ body: () -> Void) -> Cost {
    let interrupts = machine.disableInterrupts()
    let before = machine.counters
    // Cycles are read outside of what counts as instructions.
    startCycles(machine)
    let start = retiredInstructions(machine)
    body()
    let end = retiredInstructions(machine)
    let cycles = cyclesSinceStart(machine)
    let after = machine.counters
    machine.restoreInterrupts(interrupts)
    let instructions = Int(end &- start) - nothing.instructions
    return Cost(
      instructions: instructions,
      tlbInvalidations: Int(after.tlbInvalidations &- before.tlbInvalidations),
      locks: Int(after.lockAcquisitions &- before.lockAcquisitions), count: 1, worst: instructions,
      cycles: cycles.map { $0 - (nothing.cycles ?? 0) }, modelled: latestModelledOperation())
  }

  @inline(__always)
  func measure(_ body: () -> Void) -> Cost { Self.measured(machine, nothing: empty, body) }

  // MARK: Stacks in use, by number

  /// Allocates stack `number`; `nil` when there is no memory for it.
  func allocate(_ number: Int, _ stacks: borrowing BareStacks<M>) -> Cost? {
    var address: VirtualAddress?
    // As callers in Swift have it: the common path is inlined. A closure would be a function of its own.
    @inline(__always) func allocate() {
      if let stack = try? stacks.allocate(node: nil) { address = stack.detach() }
    }
    let cost = measure(allocate)
    guard let address else { return nil }
    addresses[number] = address
    return cost
  }

  func free(_ number: Int, _ stacks: borrowing BareStacks<M>) -> Cost {
    guard let stack = try? stacks.stack(at: addresses[number]) else { return Cost() }
    var owner: ThreadStack? = consume stack
    @inline(__always) func release() { if let stack = owner.take() { stacks.free(stack) } }
    return measure(release)
  }

  /// Allocates stacks until `end` are in use; tells what each cost.
  ///
  /// - Parameter zeroing: whether there are zeroed frames before each, as an idle CPU would have seen to.
  func fill(_ first: Int, _ end: Int, zeroing: Bool = false, _ stacks: borrowing BareStacks<M>) -> Cost? {
    var total = Cost()
    for number in first..<end {
      if zeroing { stacks.frames.fillZeroedPool(budget: Self.framesZeroedAtOnce) }
      guard let cost = allocate(number, stacks) else {
        for undone in first..<number { _ = free(undone, stacks) }
        return nil
      }
      total.add(cost)
    }
    return total
  }

  func drain(_ first: Int, _ end: Int, _ stacks: borrowing BareStacks<M>) -> Cost {
    var spread = CostSpread()
    return drain(first, end, spread: &spread, stacks)
  }

  /// Frees stacks; tells what all cost and, in `spread`, how often each cost was seen.
  func drain(
    _ first: Int, _ end: Int, spread: inout CostSpread, _ stacks: borrowing BareStacks<M>
  ) -> Cost {
    var total = Cost()
    for number in first..<end {
      let cost = free(number, stacks)
      spread.add(cost.instructions)
      total.add(cost)
    }
    return total
  }

  // MARK: The measurements

  func run<Console: TextSink>(
    _ stacks: borrowing BareStacks<M>, options: ScenarioOptions, console: Console
  ) -> Bool {
    var rows = BenchmarkRows(console, strategy: options.strategy)
    var checks = ScenarioChecks(console)
    let isCounted = empty.instructions > 0
    let isLimited = isCounted && options.strategy == .vmalloc && bytesPerStack == 16 << 10
    let limits = isLimited ? StackCostLimits() : nil
    rows.row("empty measurement", empty, live: 0)
    let (atOnce, byPage) = measureClearing(stacks)
    rows.row("clear stack", atOnce, live: 0, limit: limits?.clearing)
    rows.row("clear stack by pages", byPage, live: 0, limit: limits?.clearing)
    measurePageFrames(stacks, &rows)

    let clearingNew = atOnce
    stacks.reclaim(target: Int.max)
    guard fill(0, Self.few, stacks) != nil else {
      checks.check("there is memory for the measurements", false)
      return false
    }
    // A cached stack, then none: the first allocation of a run takes what the last one freed.
    guard
      let atFew = measureNew(
        live: Self.few, limit: limits?.new, clearing: clearingNew, stacks, &rows, &checks)
    else {
      _ = drain(0, Self.few, stacks)
      checks.check("there is memory for the measurements", false)
      return false
    }
    measureFromZeroed(
      options.strategy, isLimited: isCounted && bytesPerStack == 16 << 10, stacks, &rows, &checks)
    let clearingCached = measureClearingCached(atOnce, stacks)
    let cached = measureCached(
      limit: isCounted ? StackCostLimits().cached : nil, clearing: clearingCached, stacks, &rows)
    checks.check(
      "a cached stack and freeing into the cache take no lock and no invalidation",
      cached.allocate.locks + cached.free.locks == 0
        && cached.allocate.tlbInvalidations + cached.free.tlbInvalidations == 0)
    if isCounted {
      checks.check(
        "a cached stack takes at most 60 instructions besides clearing",
        cached.allocate.mean <= StackCostLimits().cached)
      checks.check(
        "freeing into the cache takes at most 60 instructions", cached.free.mean <= StackCostLimits().cached)
    }
    measureCharged(clearing: clearingCached, stacks, &rows, &checks)
    measureDirty(clearingCached, stacks, &rows, &checks)
    measureBursts(clearing: clearingCached, isCounted: isCounted, stacks, &rows, &checks)
    if let limits {
      checks.check(
        "clearing 16 KiB takes at most 600 instructions", max(byPage.mean, atOnce.mean) <= limits.clearing)
      checks.check("a new stack takes at most 800 instructions besides clearing", atFew.mean <= limits.new)
    }

    if options.strategy == .vmalloc {
      let limits = limits.map { _ in VmallocCostLimits() }
      let costs = measureVmalloc(limits: limits, clearing: byPage, stacks, &rows)
      checks.check("there is memory for 1,000 areas of four pages", costs != nil)
      if let costs, let limits {
        checks.check(
          "an area of four pages takes at most 2,000 instructions besides clearing",
          costs.allocation.mean <= limits.allocation)
        checks.check(
          "no free of an area of four pages takes more than 5,000 instructions",
          costs.release.worst <= limits.worstFree)
      }
    }

    if options.strategy == .growing {
      let limit = empty.instructions > 0 ? StackCostLimits().switchIn : nil
      let cost = measureGrowth(limit: limit, stacks, &rows)
      checks.check("stacks grew whenever they were to", cost != nil)
      checks.check("stacks shrank whenever they were to", measureShrinking(stacks, &rows))
      if let cost, let limit {
        checks.check(
          "the check at switch-in takes at most 10 instructions while the reserve is full", cost <= limit)
      }
    }

    let freeBefore = stacks.frames.freeFrames
    guard fill(Self.few, Self.many, stacks) != nil else {
      _ = drain(0, Self.few, stacks)
      stacks.reclaim(target: Int.max)
      checks.check("there is memory for 4,000 stacks", false)
      return false
    }
    let tableFrames =
      freeBefore - stacks.frames.freeFrames - (Self.many - Self.few) * (initialBytes / pageSize)
    let overhead = tableFrames * pageSize / (Self.many - Self.few) + stacks.metadataByteCount / Self.many
    // There are records for as many stacks as memory holds: with much more of it, those of stacks that are not there outweigh.
    let isFilled = stacks.frames.totalFrames <= Self.framesForEachStack * Self.many
    rows.memoryRow(overhead, of: initialBytes, isLimited: isFilled, live: Self.many)
    if isFilled {
      checks.check("page tables and metadata take at most 2 % of a stack", overhead * 50 <= initialBytes)
    }
    checks.check(
      "records of stacks take at most 0.2 % of memory",
      stacks.metadataByteCount * 500 <= stacks.frames.totalFrames * pageSize)
    measureThreadMemory(overhead: overhead, seed: options.seed, stacks, &rows)
    let limitAtMany = atFew.mean + atFew.mean / 10
    if let atMany = measureNew(
      live: Self.many, limit: limitAtMany, clearing: clearingNew, stacks, &rows, &checks)
    {
      let difference = atMany.mean - atFew.mean
      checks.check(
        "the cost at 4,000 live stacks is within 10 % of that at 10", difference.magnitude * 10 <= atFew.mean)
    } else {
      checks.check("there is memory for the measurements at 4,000 live stacks", false)
    }
    _ = drain(0, Self.many, stacks)
    stacks.reclaim(target: Int.max)
    return checks.allHeld
  }

  /// What clearing some pages costs, page by page.
  func clearingOfPages(_ count: Int) -> Int {
    let start = machine.linearAddress(of: block)
    func clear() {
      var offset = 0
      while offset < count &* pageSize {
        machine.clear(start + offset, byteCount: pageSize)
        offset &+= pageSize
      }
    }
    clear()
    return measure { clear() }.instructions
  }

  func measureClearing(_ stacks: borrowing BareStacks<M>) -> (atOnce: Cost, byPage: Cost) {
    var atOnce = Cost()
    var byPage = Cost()
    // The block that keeps the addresses is not in use yet, and at least as large as a stack.
    let start = machine.linearAddress(of: block)
    let size = initialBytes
    for _ in 0..<2 {
      atOnce = measure { machine.clear(start, byteCount: size) }
      byPage = measure {
        var offset = 0
        while offset < size {
          machine.clear(start + offset, byteCount: pageSize)
          offset &+= pageSize
        }
      }
    }
    return (atOnce, byPage)
  }

  private func measurePageFrames<Console: TextSink>(
    _ stacks: borrowing BareStacks<M>, _ rows: inout BenchmarkRows<Console>
  ) {
    var allocation = Cost()
    var release = Cost()
    for number in 0..<Self.sample {
      var frame: PageFrame?
      allocation.add(measure { frame = try? stacks.frames.allocate(FrameRequest(purpose: .other)) })
      guard let frame else { break }
      addresses[number] = VirtualAddress(frame.physicalAddress.rawValue)
    }
    var spread = CostSpread()
    for number in 0..<allocation.count {
      let frame = PhysicalAddress(addresses[number].rawValue).frame
      let cost = measure { try? stacks.frames.free(frame, order: 0) }
      spread.add(cost.instructions)
      release.add(cost)
    }
    rows.row("allocate frame", allocation, live: 0)
    rows.row("free frame", release, live: 0, spread: spread)
  }

  /// New stacks, with nothing cached, above `live` that are in use; and their way back.
  private func measureNew<Console: TextSink>(
    live: Int, limit: Int?, clearing: Cost, _ stacks: borrowing BareStacks<M>,
    _ rows: inout BenchmarkRows<Console>, _ checks: inout ScenarioChecks<Console>
  ) -> Cost? {
    stacks.reclaim(target: Int.max)
    guard var new = fill(live, live + Self.sample, stacks) else { return nil }
    new.takeOff(clearing)
    rows.row("allocate new stack", new, live: live, limit: limit)
    rows.worstRow("allocate new stack, worst", new, live: live)
    var spread = CostSpread()
    let freed = drain(live, live + Self.sample, spread: &spread, stacks)
    let worstLimit = empty.instructions > 0 ? StackCostLimits().worstFree : nil
    rows.row("free stack, cache full", freed, live: live, spread: spread)
    rows.worstRow("free stack, cache full, worst", freed, live: live, limit: worstLimit)
    checks.check("one invalidation serves at least 64 frees", freed.tlbInvalidations * 64 <= freed.count)
    if let worstLimit {
      checks.check("no single free takes more than 5,000 instructions", freed.worst <= worstLimit)
    }
    return new
  }

  private func measureCached<Console: TextSink>(
    limit: Int?, clearing: Cost, _ stacks: borrowing BareStacks<M>,
    _ rows: inout BenchmarkRows<Console>
  ) -> (allocate: Cost, free: Cost) {
    stacks.reclaim(target: Int.max)
    var allocation = Cost()
    var release = Cost()
    var spread = CostSpread()
    for _ in 0..<Self.sample {
      let freed = free(Self.few - 1, stacks)
      spread.add(freed.instructions)
      release.add(freed)
      if let cost = allocate(Self.few - 1, stacks) { allocation.add(cost) }
    }
    allocation.takeOff(clearing)
    rows.row("allocate cached stack", allocation, live: Self.few, limit: limit)
    rows.row("free stack into cache", release, live: Self.few, limit: limit, spread: spread)
    return (allocation, release)
  }
}
