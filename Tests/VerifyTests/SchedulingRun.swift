// Threads that grow, sleep, are shrunk, woken and moved between simulated CPUs, while memory comes and goes.

import KernelStacks
import SeededRandom
import SimulatedMachine
import TestSupport
import Testing

/// One simulated machine with its scheduler, and all that its CPUs do.
final class SchedulingRun: @unchecked Sendable {
  static let pageCount = 4

  let seed: UInt64
  let cpuCount: Int
  let threadCount: Int
  let trace = SchedulerTrace()
  let simulation: Simulation
  private let frames: SharedFrames
  private let stacks: ThreadStackAllocator<Simulated, SharedFramesHandle, VmallocArea<Simulated>>
  private let scheduler: ThreadScheduler<Simulated, TraceEvents>
  private let memory: UnsafeMutableRawPointer
  private let threads: UnsafeMutablePointer<ScheduledThread>
  private let idle: UnsafeMutablePointer<ScheduledThread>
  private var owned: [ThreadStackOwner] = []
  private var ballast: [PageFrame] = []
  private(set) var before = FrameCounts(reserves: [], mapped: [])

  init(seed: UInt64, cpuCount: Int = 3, threadCount: Int = 14, spareFrames: Int = 1) throws {
    self.seed = seed
    self.cpuCount = cpuCount
    self.threadCount = threadCount
    let bank = MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 1 << 20)
    simulation = try Simulation(SimulationConfiguration(memory: [bank], cpuCount: cpuCount, seed: seed))
    frames = try SharedFrames(simulation)
    stacks = try ThreadStackAllocator(
      StackConfiguration(.growing, capacity: 64, cachedStacksPerCPU: 0), machine: simulation.machine,
      frames: SharedFramesHandle(frames),
      arena: VmallocArea(0xffff_ff80_0800_0000..<0xffff_ffbc_0000_0000, machine: simulation.machine))
    memory = .allocate(
      byteCount: ThreadScheduler<Simulated, TraceEvents>.byteCount(cpuCount: cpuCount), alignment: 64)
    scheduler = ThreadScheduler(
      machine: simulation.machine, memory: memory, events: TraceEvents(trace: trace))
    threads = .allocate(capacity: threadCount)
    idle = .allocate(capacity: cpuCount)
    for id in 0..<threadCount {
      let stack = try stacks.allocate(node: nil)
      (threads + id).initialize(
        to: ScheduledThread(id: id, stackBase: stack.base, stackPointer: stack.base + (16384 - 64)))
      owned.append(ThreadStackOwner(stack))
      simulation.onCPU(id % cpuCount) { _ in scheduler.enqueue(threads + id) }
    }
    for cpu in 0..<cpuCount {
      (idle + cpu).initialize(
        to: ScheduledThread(id: 0, stackBase: VirtualAddress(0), stackPointer: VirtualAddress(0)))
      simulation.onCPU(cpu) { machine in
        let interrupts = machine.disableInterrupts()
        scheduler.startCPU(running: idle + cpu, idle: idle + cpu)
        machine.restoreInterrupts(interrupts)
      }
    }
    takeAway(.max)
    giveBack(spareFrames)
    before = counts
  }

  deinit {
    memory.deallocate()
    threads.deallocate()
    idle.deallocate()
  }

  /// The frames of the CPUs and stacks now.
  var counts: FrameCounts {
    FrameCounts(
      reserves: (0..<cpuCount).map { stacks.reservedFrameCount(ofCPU: $0) },
      mapped: owned.map { Self.pageCount - stacks.missingPageCount($0.base) })
  }

  /// Lets all CPUs run for `steps` steps each.
  func run(steps: Int) throws {
    try simulation.run(
      (0..<cpuCount).map { cpu in
        { machine in
          var random = SplitMix64(seed: self.seed &* 1021 &+ UInt64(cpu))
          var current = self.idle + cpu
          for _ in 0..<steps { try self.step(machine, cpu, &current, &random) }
        }
      })
  }

  /// Gives all stacks and frames back.
  func end() {
    for owner in owned { stacks.free(owner.take()) }
    owned = []
    giveBack(.max)
  }

  private func step(
    _ machine: Simulated, _ cpu: Int, _ current: inout ScheduledThreadPointer, _ random: inout SplitMix64
  ) throws {
    switch random.next(below: 16) {
    case 0: takeAway(random.next(below: 12))
    case 1: giveBack(random.next(below: 6))
    case 2: scheduler.reclaim(target: random.next(below: 4) + 1, stacks: stacks)
    case 3..<7: scheduler.wake(threads + random.next(below: threadCount))
    default:
      if current != idle + cpu { try work(machine, cpu, current, &random) }
      switchThread(machine, cpu, &current)
    }
  }

  /// Lets the thread touch its stack somewhere, and returns its next request.
  private func work(
    _ machine: Simulated, _ cpu: Int, _ thread: ScheduledThreadPointer, _ random: inout SplitMix64
  ) throws {
    let page = random.next(below: Self.pageCount)
    let base = thread.pointee.stackBase
    let address = base + (page * 4096 + 8 * random.next(below: 512))
    let missing = stacks.missingPageCount(base)
    if page < missing {
      #expect(throws: SimulatedFault.self, "seed \(seed)") { try machine.store(1 as UInt64, to: address) }
      let interrupts = machine.disableInterrupts()
      let growth = stacks.grower.grow(at: address, runningOn: base)
      if growth == .grown {
        scheduler.events.note(
          SchedulerEvent(
            .grow, cpu: cpu, thread: thread.pointee.id, count: missing - stacks.missingPageCount(base)))
      }
      machine.restoreInterrupts(interrupts)
      #expect(growth == .grown, "seed \(seed)")
      guard growth == .grown else { return }
    }
    try machine.store(1 as UInt64, to: address)
    // It leaves with its stack pointer here or higher up.
    let depth = random.next(below: Self.pageCount - page) + page
    thread.pointee.savedStackPointer = base + (depth * 4096 + 16 * random.next(below: 256))
    thread.pointee.request = random.next(below: 2) == 0 ? .wait : .stay
    trace.append(.depth(thread: thread.pointee.id, pages: Self.pageCount - depth))
  }

  private func switchThread(_ machine: Simulated, _ cpu: Int, _ current: inout ScheduledThreadPointer) {
    let interrupts = machine.disableInterrupts()
    current = scheduler.next(after: current, stacks: stacks) { _ in }
    _ = scheduler.takeNotifications()
    _ = scheduler.takeStall()
    machine.restoreInterrupts(interrupts)
  }

  private func takeAway(_ count: Int) {
    var left = count
    while left > 0, let frame = try? frames.buddy.allocate(FrameRequest(purpose: .other)) {
      ballast.append(frame)
      left -= 1
    }
  }

  private func giveBack(_ count: Int) {
    var left = count
    while left > 0, let frame = ballast.popLast() {
      try? frames.buddy.free(frame, order: 0)
      left -= 1
    }
  }
}

/// A class that owns a stack, so that an array can keep it.
final class ThreadStackOwner {
  let base: VirtualAddress
  private var stack: ThreadStack?

  init(_ stack: consuming ThreadStack) {
    base = stack.base
    self.stack = consume stack
  }

  func take() -> ThreadStack { stack.take()! }
}
