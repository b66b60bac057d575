// The world of these tests: a simulated machine with growing stacks, and a kernel's part of switching.

@testable import KernelScheduling
import KernelStacks
import SimulatedMachine
import TestSupport
import Testing

typealias TestStacks = ThreadStackAllocator<Simulated, SharedFramesHandle, VmallocArea<Simulated>>

/// Records the scheduler's events, and lets a test see each when it happens.
final class EventLog: @unchecked Sendable {
  var events: [SchedulerEvent] = []
  var look: ((SchedulerEvent) -> Void)?
  private(set) var counts: [SchedulerEvent.Kind: Int] = [:]
  func count(_ kind: SchedulerEvent.Kind) -> Int { counts[kind] ?? 0 }
  func add(_ event: SchedulerEvent) {
    counts[event.kind, default: 0] += 1
    events.append(event)
    look?(event)
  }
}

struct LoggedEvents: SchedulerEvents {
  let log: EventLog
  static var isListening: Bool { true }
  func note(_ event: SchedulerEvent) { log.add(event) }
}

typealias TestScheduler = ThreadScheduler<Simulated, LoggedEvents>

/// A thread's record outside of simulated memory.
final class Record {
  let scheduled: ScheduledThreadPointer
  var stack: ThreadStack?

  init(id: Int, _ stack: consuming ThreadStack) {
    scheduled = .allocate(capacity: 1)
    scheduled.initialize(
      to: ScheduledThread(id: id, stackBase: stack.base, stackPointer: stack.base + stack.size))
    self.stack = consume stack
  }

  /// An idle thread, whose stack is not one of the allocator's.
  init(idle cpu: Int) {
    scheduled = .allocate(capacity: 1)
    scheduled.initialize(
      to: ScheduledThread(id: -1 - cpu, stackBase: VirtualAddress(0), stackPointer: VirtualAddress(0)))
  }

  deinit { scheduled.deallocate() }
}

/// A simulated machine with a scheduler on it.
final class SchedulingWorld: @unchecked Sendable {
  static let vmallocArea: Range<UInt> = 0xffff_ff80_0800_0000..<0xffff_ffbc_0000_0000

  let simulation: Simulation
  let frames: SharedFrames
  let stacks: TestStacks
  let scheduler: TestScheduler
  let log = EventLog()
  let idle: [Record]
  /// Called while a CPU changes over to another thread, for other CPUs: the thread that it leaves is in no list yet.
  var whileSwitching: (() -> Void)?
  /// The thread that each CPU runs, as the machine knows it.
  var current: [ScheduledThreadPointer]
  private let memory: UnsafeMutableRawPointer
  private var taken: [PageFrame] = []
  /// Whether pages are lent to the threads that run, in place of growth on a fault.
  let lends: Bool
  var machine: Simulated { simulation.machine }
  var cpuCount: Int { idle.count }

  /// - Parameter hasFrameLists: whether each CPU keeps a list of free frames of its own.
  init(
    memoryBytes: Int = 2 << 20, cpuCount: Int = 1, seed: UInt64 = 1, hasFrameLists: Bool = false,
    recordsTrace: Bool = false, strategy: StackStrategy = .growing, tracksDirtyPages: Bool = false,
    cachedStacksPerCPU: Int? = nil, lends: Bool = false
  ) throws {
    self.lends = lends
    let bank = MemoryBank(start: PhysicalAddress(1 << 30), byteCount: memoryBytes)
    simulation = try Simulation(
      SimulationConfiguration(
        memory: [bank], cpuCount: cpuCount, seed: seed, recordsTrace: recordsTrace, stepLimit: 3_000_000,
        tracksDirtyPages: tracksDirtyPages, updatesAccessFlags: lends))
    frames = try SharedFrames(simulation, listedCPUs: hasFrameLists ? cpuCount : 0)
    stacks = try TestStacks(
      StackConfiguration(
        strategy, cachedStacksPerCPU: cachedStacksPerCPU ?? Int(seed % 3), retirementBatch: 1 + Int(seed % 5)),
      machine: simulation.machine, frames: SharedFramesHandle(frames),
      arena: VmallocArea(Self.vmallocArea, machine: simulation.machine))
    memory = .allocate(byteCount: TestScheduler.byteCount(cpuCount: cpuCount), alignment: 64)
    scheduler = TestScheduler(machine: simulation.machine, memory: memory, events: LoggedEvents(log: log))
    idle = (0..<cpuCount).map { Record(idle: $0) }
    current = idle.map(\.scheduled)
  }

  deinit { memory.deallocate() }

  /// Starts all CPUs on their idle threads.
  func start() {
    for cpu in 0..<cpuCount { start(cpu) }
  }

  /// Starts a CPU on its idle thread.
  func start(_ cpu: Int) {
    simulation.onCPU(cpu) { _ in
      let interrupts = machine.disableInterrupts()
      scheduler.startCPU(running: idle[cpu].scheduled, idle: idle[cpu].scheduled)
      machine.restoreInterrupts(interrupts)
    }
  }

  /// Whether others may notify a CPU.
  func isNotifiable(_ cpu: Int) -> Bool { scheduler.idleCPUs.pointee.set & 1 << UInt64(cpu) != 0 }

  /// Handles an exception from the current thread of a CPU, by a switch or none.
  @discardableResult
  func reschedule(_ cpu: Int, _ request: SwitchRequest = .stay) -> ScheduledThreadPointer {
    let interrupts = machine.disableInterrupts()
    let leaving = current[cpu]
    leaving.pointee.request = request
    if lends { takeBack(cpu) }
    let chosen = scheduler.next(after: leaving, stacks: stacks) {
      // A hand-over point, at which others must not find the thread that has not left its CPU yet.
      _ = machine.currentCPU
      self.current[cpu] = $0
      whileSwitching?()
    }
    if lends { stacks.lender.lend(to: chosen.pointee.stackBase) }
    machine.restoreInterrupts(interrupts)
    return chosen
  }

  /// Takes back what the thread that a CPU leaves has not touched; what it has is growth.
  private func takeBack(_ cpu: Int) {
    let before = stacks.reservedFrameCount(ofCPU: cpu)
    stacks.lender.takeBack()
    let kept = before - stacks.reservedFrameCount(ofCPU: cpu)
    guard kept > 0 else { return }
    scheduler.events.note(SchedulerEvent(.grow, cpu: cpu, thread: current[cpu].pointee.id, count: kept))
  }

  func takeStall() -> Bool { scheduler.takeStall() }

  func notifications() -> UInt64 {
    let interrupts = machine.disableInterrupts()
    defer { machine.restoreInterrupts(interrupts) }
    return scheduler.takeNotifications()
  }

  func thread(_ id: Int) throws -> Record { Record(id: id, try stacks.allocate(node: nil)) }

  /// Takes frames for another owner, as many as there are.
  func takeAway(_ count: Int = .max) {
    var left = count
    while left > 0, let frame = try? frames.buddy.allocate(FrameRequest(purpose: .other)) {
      taken.append(frame)
      left -= 1
    }
  }

  func giveBack(_ count: Int = .max) {
    var left = count
    while left > 0, let frame = taken.popLast() {
      try? frames.buddy.free(frame, order: 0)
      left -= 1
    }
  }

  var takenCount: Int { taken.count }

  /// A store by the current thread of a CPU; a fault is handled as exception code does.
  func store(_ value: UInt64, at address: VirtualAddress, cpu: Int) throws {
    try access(address, cpu) { () throws(SimulatedFault) in try machine.store(value, to: address) }
  }

  func load(_ address: VirtualAddress, cpu: Int) throws -> UInt64 {
    try access(address, cpu) { () throws(SimulatedFault) in try machine.load(address) }
  }

  func readyCount(_ cpu: Int) -> Int { scheduler.readyCount(ofCPU: cpu) }

  func reserved(_ cpu: Int) -> Int { stacks.reservedFrameCount(ofCPU: cpu) }

  /// The number of growth faults on each CPU.
  private(set) var growthFaults: [Int: Int] = [:]

  private func access<Result>(
    _ address: VirtualAddress, _ cpu: Int, _ body: () throws(SimulatedFault) -> Result
  ) throws -> Result {
    var hasGrown = false
    while true {
      do {
        return try body()
      } catch {
        try #require(!hasGrown, "a second fault at the same address")
        let interrupts = machine.disableInterrupts()
        let base = current[cpu].pointee.stackBase
        let before = stacks.reservedFrameCount(ofCPU: cpu)
        let growth = stacks.grower.grow(at: address, runningOn: base)
        try #require(growth == .grown, "thread \(current[cpu].pointee.id) on CPU \(cpu)")
        scheduler.events.note(
          SchedulerEvent(
            .grow, cpu: cpu, thread: current[cpu].pointee.id,
            count: before - stacks.reservedFrameCount(ofCPU: cpu)))
        expectReserve(cpu)
        machine.restoreInterrupts(interrupts)
        growthFaults[cpu, default: 0] += 1
        hasGrown = true
      }
    }
  }

  /// Expects the invariant of growth for the thread that a CPU runs now.
  func expectReserve(_ cpu: Int) {
    let need = stacks.missingPageCount(current[cpu].pointee.stackBase)
    let has = stacks.reservedFrameCount(ofCPU: cpu)
    #expect(
      has >= need, "CPU \(cpu) has \(has) frames for thread \(current[cpu].pointee.id), which needs \(need)")
  }
}
