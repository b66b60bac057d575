// What stack operations cost when all CPUs make them at once, beside what they cost on one CPU alone.
//
// The counter counts the instructions of the whole machine. So each CPU makes the same number of operations, all begin
// together, and the sum over all CPUs is divided by all operations. CPUs hand over to each other after each operation: an
// emulator that runs them in turn would otherwise run one CPU's operations after the other's, and nothing that they share
// would ever change hands. What the loop, the handing over and the waiting of those that are done take is measured by the
// same loop with nothing in it, and subtracted.

import KernelProcesses
import KernelStacks

/// Measures a stack allocator on several CPUs at once.
///
/// It is made before the first CPU measures, and is the same for all.
public struct AllCPUBenchmark<M: ScenarioMachine> {
  /// What all CPUs do at once, each for itself.
  public enum Step: UInt, Sendable {
    /// Only hands over.
    case nothing
    /// Sees to it that the next allocation finds a freed stack.
    case warmUp
    /// Allocates the stack that was freed last, and frees it.
    case cached
    /// Allocates stacks that stay.
    case allocate
    /// Looks for the stacks that stay, which freeing them by their address begins with.
    case find
    /// Frees the stacks that stay.
    case free
    /// Makes areas that stay.
    case makeAreas
    /// Frees an area and allocates another.
    case changeAreas
    /// Frees all areas.
    case freeAreas
    /// Gives back what this CPU keeps for speed, all but a full reserve.
    case reclaim
  }

  /// What each kind of operation costs on so many CPUs, all together.
  public struct Costs {
    var cached = Cost()
    var new = Cost()
    var freed = Cost()
    var areas = Cost()
    /// Operations that were refused, or found nothing.
    var failures = 0
    /// Free frames before, less those after everything was given back.
    var lostFrames = 0
  }

  private let machine: M
  private let block: PageFrame
  /// A line for each CPU's failures, then the addresses of the stacks or areas that each CPU keeps.
  private let words: UnsafeMutablePointer<UInt>
  private let handOver: @convention(c) () -> Void
  private let clearing: Int
  private let clearingNew: Int
  private let clearingAreas: Int
  /// On how many CPUs is measured.
  private var cpus = 1

  private static var blockOrder: Int { 4 }
  private static var maximumCPUs: Int { 64 }
  private static var lineWords: Int { 8 }
  private static var areaPages: Int { 4 }
  /// How many operations each CPU makes in a step: as many in all, on however many CPUs.
  private var operations: Int { 2048 / cpus }
  /// How many areas each CPU keeps.
  private var areas: Int { 1000 / cpus }

  /// Prepares for measurements.
  ///
  /// - Parameters:
  ///   - stacks: an allocator none of whose stacks is in use.
  ///   - handOver: lets other CPUs go on, where CPUs run in turn.
  /// - Throws: when there is no memory for the addresses.
  public init(
    _ stacks: borrowing BareStacks<M>, handOver: @convention(c) () -> Void
  ) throws(FrameSourceError) {
    machine = stacks.machine
    self.handOver = handOver
    block = try stacks.frames.allocate(FrameRequest(order: Self.blockOrder, purpose: .metadata, cleared: true))
    words = machine.pointer(to: block.physicalAddress).assumingMemoryBound(to: UInt.self)
    let benchmark = try StackBenchmark(stacks)
    let costs = benchmark.measureClearing(stacks)
    clearing = benchmark.measureClearingCached(costs.atOnce, stacks).mean
    clearingNew = costs.atOnce.mean
    clearingAreas = benchmark.clearingOfPages(Self.areaPages)
    benchmark.release(stacks)
  }

  /// Gives the memory back.
  public func release(_ stacks: borrowing BareStacks<M>) {
    returnFrame(block, order: Self.blockOrder, to: stacks.frames)
  }

  // MARK: What each CPU does

  /// Carries out this CPU's part of a step; interrupts are off.
  public func carryOut(_ step: Step, _ stacks: borrowing BareStacks<M>) {
    let cpu = machine.currentCPU
    let own = words + cpu * Self.lineWords
    let kept = words + (Self.maximumCPUs * Self.lineWords + cpu * operations)
    switch step {
    case .nothing: each(operations) { _ in }
    case .warmUp:
      // The first free may still have to answer others that want stacks back.
      for _ in 0..<4 { cycle(stacks, own) }
    case .cached: each(operations) { _ in cycle(stacks, own) }
    case .allocate:
      each(operations) { index in
        kept[index] = 0
        if let stack = try? stacks.allocate(node: nil) { kept[index] = stack.detach().rawValue }
      }
    case .find:
      each(operations) { index in
        if let stack = try? stacks.stack(at: VirtualAddress(kept[index])) {
          _ = stack.detach()
        } else {
          own[0] &+= 1
        }
      }
    case .free:
      each(operations) { index in
        if let stack = try? stacks.stack(at: VirtualAddress(kept[index])) { stacks.free(stack) }
      }
    case .makeAreas: each(areas) { index in kept[index] = makeArea(stacks, own) }
    case .changeAreas:
      each(operations) { index in
        // Not the one that came last: frames and places go round.
        let victim = index &* 37 % areas
        freeArea(kept[victim], stacks, own)
        kept[victim] = makeArea(stacks, own)
      }
    case .freeAreas: each(areas) { index in freeArea(kept[index], stacks, own) }
    case .reclaim:
      stacks.reclaim(target: Int.max)
      stacks.fillReserve()
    }
  }

  @inline(__always) private func each(_ count: Int, _ body: (Int) -> Void) {
    for index in 0..<count {
      body(index)
      handOver()
    }
  }

  @inline(__always) private func cycle(_ stacks: borrowing BareStacks<M>, _ own: UnsafeMutablePointer<UInt>) {
    if let stack = try? stacks.allocate(node: nil) { stacks.free(stack) } else { own[0] &+= 1 }
  }

  @inline(__always) private func makeArea(
    _ stacks: borrowing BareStacks<M>, _ own: UnsafeMutablePointer<UInt>
  ) -> UInt {
    let area = try? stacks.arena.vmalloc(
      size: Self.areaPages * pageSize, caller: "benchmark", frames: stacks.frames)
    if area == nil { own[0] &+= 1 }
    return area?.rawValue ?? 0
  }

  @inline(__always) private func freeArea(
    _ address: UInt, _ stacks: borrowing BareStacks<M>, _ own: UnsafeMutablePointer<UInt>
  ) {
    do {
      try stacks.arena.vfree(VirtualAddress(address), frames: stacks.frames)
    } catch { own[0] &+= 1 }
  }

  // MARK: The measurements

  /// Measures every kind of operation on some CPUs at once.
  ///
  /// - Parameters:
  ///   - cpus: how many.
  ///   - runOnAll: has all of them carry out a step, and waits until they have; called with interrupts off.
  public mutating func measure(
    cpus: Int, _ stacks: borrowing BareStacks<M>, runOnAll: (Step) -> Void
  ) -> Costs {
    self.cpus = cpus
    let machine = machine
    let count = cpus * operations
    let interrupts = machine.disableInterrupts()
    var costs = Costs()
    runOnAll(.reclaim)
    let freeFrames = stacks.frames.freeFrames
    for cpu in 0..<Self.maximumCPUs { words[cpu * Self.lineWords] = 0 }
    func run(_ step: Step) -> Cost {
      let before = machine.counters
      runOnAll(step)
      let after = machine.counters
      return Cost(
        instructions: Int(after.instructions &- before.instructions),
        tlbInvalidations: Int(after.tlbInvalidations &- before.tlbInvalidations),
        locks: Int(after.lockAcquisitions &- before.lockAcquisitions), count: count)
    }
    // The first time brings code and counters into their steady state.
    _ = run(.nothing)
    let empty = run(.nothing).instructions
    runOnAll(.reclaim)
    runOnAll(.warmUp)
    costs.cached = run(.cached)
    costs.cached.instructions -= empty + clearing * costs.cached.count
    runOnAll(.reclaim)

    costs.new = run(.allocate)
    costs.new.instructions -= empty + clearingNew * costs.new.count
    let lookup = run(.find)
    costs.freed = run(.free)
    costs.freed.instructions -= lookup.instructions
    costs.freed.locks -= lookup.locks
    runOnAll(.reclaim)

    runOnAll(.makeAreas)
    costs.areas = run(.changeAreas)
    costs.areas.instructions -= empty + clearingAreas * costs.areas.count
    runOnAll(.freeAreas)
    _ = stacks.arena.flush(frames: stacks.frames)
    runOnAll(.reclaim)
    costs.lostFrames = freeFrames - stacks.frames.freeFrames
    for cpu in 0..<Self.maximumCPUs { costs.failures += Int(words[cpu * Self.lineWords]) }
    machine.restoreInterrupts(interrupts)
    return costs
  }

  /// Writes a row for each kind of operation, and checks what must hold.
  ///
  /// - Parameters:
  ///   - one: the costs on one CPU.
  ///   - all: those on several at once.
  ///   - cpus: on how many.
  /// - Returns: whether the checks held.
  public static func write<Console: TextSink>(
    one: Costs, all: Costs, cpus: Int, strategy: StackStrategy, to console: Console
  ) -> Bool {
    var rows = BenchmarkRows(console, strategy: strategy)
    var checks = ScenarioChecks(console)
    rows.allCPUsRow("allocate and free cached stack, all CPUs", one.cached, all.cached, cpus, isLimited: true)
    rows.allCPUsRow("allocate new stack, all CPUs", one.new, all.new, cpus)
    rows.allCPUsRow("free stack, cache full, all CPUs", one.freed, all.freed, cpus)
    rows.allCPUsRow("vfree and vmalloc of 4 pages, all CPUs", one.areas, all.areas, cpus, isLimited: true)
    checks.check("no operation was refused on all CPUs at once", one.failures + all.failures == 0)
    checks.check(
      "after reclaim on all CPUs, as many frames are free as before", one.lostFrames == 0 && all.lostFrames == 0
    )
    checks.check(
      "cached stacks cost within 15 % of the same on all CPUs at once as on one",
      all.cached.isWithin(percent: 15, of: one.cached))
    checks.check(
      "small areas cost within 15 % of the same on all CPUs at once as on one",
      all.areas.isWithin(percent: 15, of: one.areas))
    checks.check(
      "cached stacks take no lock and no invalidation on all CPUs at once",
      all.cached.locks + all.cached.tlbInvalidations == 0)
    return checks.allHeld
  }
}

extension Cost {
  /// Whether the mean is at most so much larger than another.
  func isWithin(percent: Int, of other: Self) -> Bool {
    instructions * other.count * 100 <= other.instructions * count * (100 + percent)
  }
}

extension BenchmarkRows {
  /// The mean cost on all CPUs at once, beside that on one.
  ///
  /// - Parameter isLimited: whether it may be at most 15 % more.
  mutating func allCPUsRow(
    _ name: StaticString, _ one: Cost, _ all: Cost, _ cpus: Int, isLimited: Bool = false
  ) {
    begin(name)
    field("instructions", all.mean)
    field("tlbInvalidations", all.tlbInvalidations)
    field("live", 0)
    field("cpus", cpus)
    field("instructionsOnOneCPU", one.mean)
    let (product, share) = (all.instructions * 1000 * one.count, one.instructions * all.count)
    field("ratio", permille: share > 0 ? (product + share / 2) / share : 0)
    field("locksPerOperation", permille: all.locks * 1000 / max(1, all.count))
    if isLimited { field("limit", one.instructions * 115 / (one.count * 100)) }
    end()
  }
}
