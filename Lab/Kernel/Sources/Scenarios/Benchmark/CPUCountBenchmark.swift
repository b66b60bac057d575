// What one CPU does and the number of CPUs may make dearer: a switch, an idle CPU's search for a thread, the look that finds a
// stall, and reclaim.
//
// A scheduler of its own, in which each CPU takes part with an idle thread, or with another one as if it were busy. CPU 0
// switches, searches and looks, with interrupts off; no other CPU does anything meanwhile, so no lock is waited for.

import KernelProcesses
import KernelStacks

/// Measures on one CPU what depends on how many there are.
public struct CPUCountBenchmark<M: ScenarioMachine> {
  typealias Scheduler = ThreadScheduler<M, NoSchedulerEvents>

  /// The cost of each operation.
  public struct Costs {
    var switchBesideIdle = Cost()
    var switchBesideBusy = Cost()
    var search = Cost()
    var stallLook = Cost()
    var reclaim = Cost()
    /// Switches that led to another thread than the one that was ready, and looks with a wrong answer.
    var failures = 0
  }

  private let machine: M
  private let block: PageFrame
  private let empty: Cost

  // The block:    the scheduler's value | a page: its memory begins | ... | half way: an idle and a busy thread for each CPU
  private static var blockOrder: Int { 3 }
  private static var memoryOffset: Int { 4096 }
  private static var threadsOffset: Int { 16384 }
  private static var sample: Int { 1024 }

  /// Prepares for measurements.
  ///
  /// - Throws: when there is no memory for a scheduler.
  public init(_ stacks: borrowing BareStacks<M>) throws(FrameSourceError) {
    let count = Scheduler.maximumCPUCount
    let threadsBytes = (2 * count + 1) * MemoryLayout<ScheduledThread>.stride
    precondition(
      Scheduler.byteCount(cpuCount: count) <= Self.threadsOffset - Self.memoryOffset
        && threadsBytes <= pageSize << Self.blockOrder - Self.threadsOffset, "the parts of the block overlap")
    machine = stacks.machine
    block = try stacks.frames.allocate(FrameRequest(order: Self.blockOrder, purpose: .metadata, cleared: true))
    _ = StackBenchmark.measured(machine, nothing: Cost()) {}
    empty = StackBenchmark.measured(machine, nothing: Cost()) {}
  }

  /// Gives the memory back.
  public func release(_ stacks: borrowing BareStacks<M>) {
    returnFrame(block, order: Self.blockOrder, to: stacks.frames)
  }

  private var memory: UnsafeMutableRawPointer { machine.pointer(to: block.physicalAddress) }
  private var scheduler: UnsafeMutablePointer<Scheduler> { memory.assumingMemoryBound(to: Scheduler.self) }

  private func thread(_ index: Int) -> ScheduledThreadPointer {
    (memory + Self.threadsOffset).assumingMemoryBound(to: ScheduledThread.self) + index
  }

  /// Has the current CPU take part, with its idle thread or as if it were busy; interrupts are off.
  public func takePart(isBusy: Bool) {
    let cpu = machine.currentCPU
    scheduler.pointee.startCPU(running: thread(2 * cpu + (isBusy ? 1 : 0)), idle: thread(2 * cpu))
  }

  /// Measures with some CPUs.
  ///
  /// - Parameters:
  ///   - cpus: how many.
  ///   - takePart: has all of them call ``takePart(isBusy:)``, and waits until they have.
  /// - Throws: when there is no memory for two stacks.
  public func measure(
    cpus: Int, _ stacks: borrowing BareStacks<M>, takePart: (Bool) -> Void
  ) throws(ThreadStackError) -> Costs {
    let interrupts = machine.disableInterrupts()
    defer { machine.restoreInterrupts(interrupts) }
    let first = try stacks.allocate(node: nil)
    let second: ThreadStack
    do {
      second = try stacks.allocate(node: nil)
    } catch {
      stacks.free(first)
      throw error
    }
    scheduler.initialize(
      to: Scheduler(
        machine: machine, memory: memory + Self.memoryOffset, events: NoSchedulerEvents(), cpuCount: cpus))
    for index in 0..<2 * cpus {
      thread(index).initialize(
        to: ScheduledThread(id: index, stackBase: first.base, stackPointer: first.base))
    }
    let other = thread(2 * cpus)
    other.initialize(to: ScheduledThread(id: 2 * cpus, stackBase: second.base, stackPointer: second.base))

    var costs = Costs()
    takePart(false)
    costs.search = search(stacks, &costs.failures)
    costs.stallLook = lookForStall(&costs.failures)
    let own = thread(1)
    scheduler.pointee.startCPU(running: own, idle: thread(0))
    scheduler.pointee.enqueue(other)
    costs.switchBesideIdle = switchTo(other, from: own, stacks, &costs.failures)
    // The thread that is ready stays so; all CPUs but this one have another one that they run.
    takePart(true)
    costs.switchBesideBusy = switchTo(other, from: own, stacks, &costs.failures)
    scheduler.deinitialize(count: 1)
    stacks.free(first)
    stacks.free(second)
    stacks.reclaim(target: .max)
    for _ in 0..<2 { costs.reclaim = measured { stacks.reclaim(target: .max) } }
    return costs
  }

  private func measured(_ body: () -> Void) -> Cost {
    StackBenchmark.measured(machine, nothing: empty, body)
  }

  /// Switches between two threads, one of which is always ready.
  private func switchTo(
    _ other: ScheduledThreadPointer, from own: ScheduledThreadPointer, _ stacks: borrowing BareStacks<M>,
    _ failures: inout Int
  ) -> Cost {
    var total = Cost()
    var (current, ready) = (own, other)
    for _ in 0..<Self.sample {
      var next = current
      total.add(measured { next = scheduler.pointee.next(after: current, stacks: stacks) { _ in } })
      _ = scheduler.pointee.takeNotifications()
      if next != ready { failures += 1 }
      (current, ready) = (ready, current)
    }
    return total
  }

  /// Goes through the queues of all CPUs, none of which has a thread that is ready.
  private func search(_ stacks: borrowing BareStacks<M>, _ failures: inout Int) -> Cost {
    var total = Cost()
    let idle = thread(0)
    for _ in 0..<Self.sample {
      var next = thread(1)
      total.add(measured { next = scheduler.pointee.next(after: idle, stacks: stacks) { _ in } })
      if next != idle { failures += 1 }
    }
    return total
  }

  private func lookForStall(_ failures: inout Int) -> Cost {
    var total = Cost()
    for _ in 0..<Self.sample {
      var isQuiet = true
      total.add(measured { isQuiet = scheduler.pointee.areAllCPUsQuiet() })
      // They idle, and none has given back what it held.
      if isQuiet { failures += 1 }
    }
    return total
  }

  /// Writes a row for each operation.
  ///
  /// - Parameters:
  ///   - one: the costs with one CPU.
  ///   - all: those with several.
  ///   - cpus: how many.
  /// - Returns: whether all operations did what they were to.
  public static func write<Console: TextSink>(
    one: Costs, all: Costs, cpus: Int, strategy: StackStrategy, to console: Console
  ) -> Bool {
    var rows = BenchmarkRows(console, strategy: strategy)
    rows.cpuCountRow(
      "switch to a ready thread, other CPUs idle", one.switchBesideIdle, all.switchBesideIdle, cpus)
    rows.cpuCountRow(
      "switch to a ready thread, other CPUs busy", one.switchBesideBusy, all.switchBesideBusy, cpus)
    rows.cpuCountRow("look for a thread on all CPUs", one.search, all.search, cpus)
    rows.cpuCountRow("look whether all CPUs are quiet", one.stallLook, all.stallLook, cpus)
    // The allocator has the records of all CPUs also where the others take no part.
    rows.cpuCountRow("reclaim with nothing to give back", all.reclaim, cpus)
    var checks = ScenarioChecks(console)
    checks.check("each switch and each look had its result", one.failures + all.failures == 0)
    return checks.allHeld
  }
}

extension BenchmarkRows {
  /// The cost of an operation of one CPU beside its cost on a machine that has no other, and the difference for each other one.
  mutating func cpuCountRow(_ name: StaticString, _ one: Cost, _ all: Cost, _ cpus: Int) {
    beginCPUCountRow(name, all, cpus)
    field("instructionsOnOneCPU", one.mean)
    let difference = max(0, all.instructions * one.count - one.instructions * all.count)
    field(
      "instructionsForEachOtherCPU", permille: difference * 1000 / max(1, all.count * one.count * (cpus - 1)))
    end()
  }

  /// The cost of an operation of one CPU on a machine of several.
  mutating func cpuCountRow(_ name: StaticString, _ all: Cost, _ cpus: Int) {
    beginCPUCountRow(name, all, cpus)
    end()
  }

  private mutating func beginCPUCountRow(_ name: StaticString, _ all: Cost, _ cpus: Int) {
    begin(name)
    field("instructions", all.mean)
    field("tlbInvalidations", all.tlbInvalidations)
    field("live", 0)
    field("cpus", cpus)
  }

  /// The bytes that something takes for each CPU.
  mutating func bytesRow(_ name: StaticString, bytes: Int, cpus: Int) {
    begin(name)
    nullField("instructions")
    nullField("tlbInvalidations")
    field("live", 0)
    field("cpus", cpus)
    field("bytesForEachCPU", bytes)
    end()
  }
}

/// Writes the bytes that something takes for each CPU as a row of a benchmark.
public func writeBytesForEachCPU<Console: TextSink>(
  _ name: StaticString, _ bytes: Int, cpus: Int, strategy: StackStrategy, to console: Console
) {
  var rows = BenchmarkRows(console, strategy: strategy)
  rows.bytesRow(name, bytes: bytes, cpus: cpus)
}
