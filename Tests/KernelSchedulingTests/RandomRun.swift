// A random run: threads on several CPUs use their stacks, sleep, wake each other, are shrunk and run out of memory,
// interleaved by the seed, and compared with a model.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

/// A thread of a random run, with its state in the model.
final class ModelThread {
  let record: Record
  var id: Int { record.scheduled.pointee.id }
  var base: VirtualAddress { record.scheduled.pointee.stackBase }
  /// Its stack pointer, and those to go back to.
  var stackPointer: VirtualAddress
  var frames: [VirtualAddress] = []
  /// The words that it has stored at or above its stack pointer, or at or above its floor.
  var contents: [UInt: UInt64] = [:]
  /// The ensured section that it is in: the floor to go back to, and the floor.
  var sections: [(former: VirtualAddress, floor: VirtualAddress)] = []
  /// The operations that it still has to make.
  var operationsLeft: Int
  var isOver = false
  /// Whether a wake-up has come and ended since its last wait; and whether that was so when it began to wait.
  var isWakePending = false
  var mustNotSleep = false
  var isClaimed = false
  /// Whether its registers are in its record.
  var isSaved = true
  /// The number of times that it has left a CPU, or tried to.
  var switchCount = 0
  var lastCPU = -1

  init(_ record: Record, operations: Int) {
    self.record = record
    stackPointer = record.scheduled.pointee.savedStackPointer
    operationsLeft = operations
  }

  var floor: VirtualAddress { sections.last?.floor ?? ScheduledThread.noFloor }

  /// The number of pages that cannot be taken from it.
  var livePageCount: Int { max(1, (base + 16384 - min(stackPointer, floor).pageBase) / pageSize) }
}

/// The events of a run; a test expects each of these to have happened.
struct RunFigures {
  var growths = 0
  var refillWaits = 0
  var released = 0
  var putBack = 0
  var migrations = 0
  var stalls = 0
  var sections = 0
  var closings = 0
  var openings = 0
}

/// One run, in which only one CPU executes at a time.
final class RandomRun: @unchecked Sendable {
  /// Before the world, which must outlive the stacks that a failed run leaves: properties go in this order.
  var threads: [ModelThread] = []
  let world: SchedulingWorld
  let seed: UInt64
  var waiters: [Int] = []
  var figures = RunFigures()
  /// All frames that stacks, reserves, pool and takers can have together.
  var budget = 0
  /// Whether a check has failed: then the run ends, because later checks prove nothing.
  private(set) var hasFailed = false
  /// Pages of each thread's stack, and whether a CPU may take frames for the thread that it considers.
  private var mapped: [Int]
  private var mayTakeFrames: [Bool]
  var isOver: Bool { hasFailed || threads.allSatisfy(\.isOver) }

  init(seed: UInt64, lends: Bool) throws {
    self.seed = seed
    var random = SplitMix64(seed: seed &* 77)
    let cpuCount = 1 + Int(seed % 4)
    world = try SchedulingWorld(cpuCount: cpuCount, seed: seed, hasFrameLists: seed / 4 % 2 == 1, lends: lends)
    world.start()
    let threadCount = 4 + 3 * cpuCount + random.next(below: 6)
    mapped = Array(repeating: 1, count: threadCount)
    mayTakeFrames = Array(repeating: true, count: cpuCount)
    for id in 1...threadCount {
      threads.append(ModelThread(try world.thread(id), operations: 20 + random.next(below: 40)))
    }
    world.log.look = { [unowned self] in look(at: $0) }
  }

  func thread(_ id: Int) -> ModelThread { threads[id - 1] }
  func thread(_ scheduled: ScheduledThreadPointer) -> ModelThread? {
    scheduled.pointee.id > 0 ? thread(scheduled.pointee.id) : nil
  }

  func fail(_ text: String) {
    hasFailed = true
    Issue.record("seed \(seed): \(text)")
  }

  // MARK: The model follows the scheduler's events

  func look(at event: SchedulerEvent) {
    if event.kind == .stall { lookAtStall() }
    guard event.thread > 0 else { return }
    let thread = thread(event.thread)
    switch event.kind {
    case .consider:
      mayTakeFrames[event.cpu] = event.count > 0
      if event.count > 0, let first = waiters.first, first != event.thread {
        fail("thread \(event.thread) may take frames while \(first) waits")
      }
    case .refill:
      if !mayTakeFrames[event.cpu] { fail("frames are taken for thread \(event.thread), which may not") }
    case .waitForRefill:
      waiters.append(event.thread)
      figures.refillWaits += 1
    case .switchIn:
      if let position = waiters.firstIndex(of: event.thread) {
        if position != 0 { fail("thread \(event.thread) overtook \(waiters[0])") }
        waiters.remove(at: position)
      }
      if world.current.contains(thread.record.scheduled) {
        fail("thread \(event.thread) is switched in before it has left its CPU")
      }
      if !thread.isSaved { fail("thread \(event.thread) is switched in before its context is saved") }
      if thread.isClaimed { fail("thread \(event.thread) is switched in while it is claimed") }
      let (has, needs) = (world.reserved(event.cpu), 4 - mapped[event.thread - 1])
      if has < needs {
        fail("thread \(event.thread), which needs \(needs) frames, is switched in with \(has)")
      }
      if thread.lastCPU >= 0, thread.lastCPU != event.cpu { figures.migrations += 1 }
      thread.lastCPU = event.cpu
    case .sleep:
      if thread.mustNotSleep { fail("a wake-up of thread \(event.thread) is lost") }
    case .claim:
      if thread.isClaimed || !thread.isSaved || world.current.contains(thread.record.scheduled) {
        fail("thread \(event.thread) is claimed and does not sleep")
      }
      thread.isClaimed = true
    case .unclaim: thread.isClaimed = false
    case .retire: mapped[event.thread - 1] -= event.count
    case .release: figures.released += event.count
    case .putBack:
      mapped[event.thread - 1] += event.count
      figures.putBack += event.count
    case .grow:
      mapped[event.thread - 1] += event.count
      figures.growths += event.count
    default: break
    }
  }

  // MARK: A CPU

  func run(cpu: Int, _ random: inout SplitMix64) throws {
    do {
      try operate(cpu, &random)
    } catch {
      // The other CPUs would wait for the threads that this one has.
      hasFailed = true
      throw error
    }
  }

  private func operate(_ cpu: Int, _ random: inout SplitMix64) throws {
    var idleTurns = 0
    while !isOver {
      let current = world.current[cpu]
      guard let thread = thread(current) else {
        // Time passes: a tick now and then, which may wake a thread.
        idleTurns += 1
        if world.scheduler.isClosed(cpu), random.next(below: 8) == 0 { try reopen(cpu) }
        _ = world.machine.currentCPU
        if idleTurns % 4 == 0 {
          if random.next(below: 2) == 0 { wake(threads[random.next(below: threads.count)]) }
          try switchAway(cpu, .stay)
        }
        continue
      }
      idleTurns = 0
      let request = try operation(of: thread, cpu, &random)
      if let request { try switchAway(cpu, request) }
    }
    // A CPU that ends runs nothing.
    if !hasFailed, thread(world.current[cpu]) != nil { fail("CPU \(cpu) still runs a thread at the end") }
  }

  func switchAway(_ cpu: Int, _ request: SwitchRequest) throws {
    let interrupts = world.machine.disableInterrupts()
    let leaving = thread(world.current[cpu])
    if let leaving {
      leaving.record.scheduled.pointee.savedStackPointer = leaving.stackPointer
      leaving.isSaved = true
      leaving.switchCount += 1
      if request == .wait {
        leaving.mustNotSleep = leaving.isWakePending
        leaving.isWakePending = false
      }
    }
    let wasClosed = world.scheduler.isClosed(cpu)
    let chosen = world.reschedule(cpu, request)
    if wasClosed {
      if chosen.pointee.id > 0 { fail("thread \(chosen.pointee.id) runs on CPU \(cpu), which is closed") }
      if world.reserved(cpu) != 0 { fail("CPU \(cpu) is closed and keeps a reserve") }
    }
    let departed = world.scheduler.takeDeparted()
    if departed != (request == .exit ? leaving?.record.scheduled : nil) {
      fail("\(departed.map { "thread \($0.pointee.id)" } ?? "nobody") is said to have left for good")
    }
    if request == .exit, let leaving {
      if chosen == leaving.record.scheduled { fail("a dead thread goes on") }
      // The stack is freed by the successor.
      world.stacks.free(leaving.record.stack.take()!)
      world.scheduler.events.note(SchedulerEvent(.free, cpu: cpu, thread: leaving.id))
      leaving.isOver = true
    }
    if let entered = thread(chosen) {
      entered.isSaved = false
      if entered.isOver { fail("thread \(entered.id) runs after its end") }
      if world.current.filter({ $0 == chosen }).count != 1 { fail("thread \(entered.id) runs twice") }
      world.expectReserve(cpu)
    }
    let isNotifiable = world.isNotifiable(cpu)
    // Another CPU may close this one; it does so before it takes it out of the set.
    if isNotifiable != (chosen.pointee.id < 0) && !(world.scheduler.isClosed(cpu) && !isNotifiable) {
      fail("CPU \(cpu) \(isNotifiable ? "is busy and would be notified" : "idles and is not notified")")
    }
    _ = world.scheduler.takeNotifications()
    let isStalled = world.scheduler.takeStall()
    world.machine.restoreInterrupts(interrupts)
    if isStalled { world.giveBack() }
    if let entered = thread(chosen) { try verify(entered, cpu) }
  }

  /// Starts a closed CPU again.
  func reopen(_ cpu: Int) throws {
    try switchAway(cpu, .stay)
    // The CPU that closes it may still be moving the threads that were ready there.
    guard world.scheduler.mayStop(cpu) else { return }
    if world.readyCount(cpu) > 0 { fail("threads are ready on CPU \(cpu), which may stop") }
    figures.openings += 1
    let interrupts = world.machine.disableInterrupts()
    world.scheduler.startCPU(running: world.current[cpu], idle: world.current[cpu])
    world.machine.restoreInterrupts(interrupts)
  }

  /// Checks a reported stall: it is right only if the frames that threads need and others hold exceed all memory.
  private func lookAtStall() {
    figures.stalls += 1
    if world.current.contains(where: { $0.pointee.id > 0 }) { fail("a stall while a thread runs") }
    let live = threads.filter { !$0.isOver }.reduce(0) { $0 + $1.livePageCount }
    let needed = live + 3 * world.cpuCount + world.takenCount
    if needed <= budget { fail("a stall, and \(needed) of \(budget) frames would do: \(live) live") }
  }

  /// Checks that the stack's contents at or above the stack pointer, or the floor, are still there.
  func verify(_ thread: ModelThread, _ cpu: Int) throws {
    for (address, word) in thread.contents {
      let found = try world.load(VirtualAddress(address), cpu: cpu)
      if found != word { fail("thread \(thread.id) finds \(found) in place of \(word)") }
    }
  }

  // MARK: What threads do

  func wake(_ thread: ModelThread) {
    if thread.isOver { return }
    let (runs, switches) = (!thread.isSaved, thread.switchCount)
    world.scheduler.wake(thread.record.scheduled)
    // It ran all the time: its next wait is to end at once.
    if runs, !thread.isSaved, thread.switchCount == switches { thread.isWakePending = true }
  }

  /// - Returns: the thread's request for its next switch, if it makes one.
  func operation(of thread: ModelThread, _ cpu: Int, _ random: inout SplitMix64) throws -> SwitchRequest? {
    thread.operationsLeft -= 1
    if thread.operationsLeft <= 0 { return .exit }
    switch random.next(below: 17) {
    case 0..<4: try push(thread, cpu, &random)
    case 4..<6: pop(thread)
    case 6: try verify(thread, cpu)
    case 7: try beginSection(thread, cpu, &random)
    case 8: endSection(thread)
    case 9: wake(threads[random.next(below: threads.count)])
    case 10:
      world.takeAway(random.next(below: 4))
    case 11: world.giveBack(random.next(below: 4))
    case 12: _ = world.scheduler.reclaim(target: 1 + random.next(below: 6), stacks: world.stacks)
    case 13..<15: return .wait
    case 15:
      if world.scheduler.closeCPU(random.next(below: world.cpuCount)) { figures.closings += 1 }
    default: return .stay
    }
    return nil
  }

  private func put(_ thread: ModelThread, _ address: VirtualAddress, _ cpu: Int, _ random: inout SplitMix64)
    throws
  {
    let word = random.next() | 1
    try world.store(word, at: address, cpu: cpu)
    thread.contents[address.rawValue] = word
  }

  private func push(_ thread: ModelThread, _ cpu: Int, _ random: inout SplitMix64) throws {
    let depth = 64 * (1 + random.next(below: random.next(below: 2) == 0 ? 150 : 20))
    guard thread.stackPointer - thread.base >= depth else { return }
    thread.frames.append(thread.stackPointer)
    let old = thread.stackPointer
    thread.stackPointer = old - depth
    try put(thread, thread.stackPointer, cpu, &random)
    try put(thread, thread.stackPointer + random.next(below: depth / 8) * 8, cpu, &random)
  }

  private func pop(_ thread: ModelThread) {
    // Not inside a section, which was begun deeper.
    guard let frame = thread.frames.last, thread.sections.isEmpty else { return }
    thread.frames.removeLast()
    thread.stackPointer = frame
    forgetDead(thread)
  }

  private func forgetDead(_ thread: ModelThread) {
    let lowest = min(thread.stackPointer, thread.floor).rawValue
    thread.contents = thread.contents.filter { $0.key >= lowest }
  }

  private func beginSection(_ thread: ModelThread, _ cpu: Int, _ random: inout SplitMix64) throws {
    let bytes = 8 * random.next(below: 1200)
    let interrupts = world.machine.disableInterrupts()
    defer { world.machine.restoreInterrupts(interrupts) }
    let available = thread.stackPointer - thread.base
    let before = thread.record.scheduled.pointee.floor
    do {
      let missing = world.stacks.missingPageCount(thread.base)
      let former = try thread.record.scheduled.pointee.ensure(
        bytes: bytes, below: thread.stackPointer, grower: world.stacks.grower)
      let grown = missing - world.stacks.missingPageCount(thread.base)
      if grown > 0 {
        world.scheduler.events.note(SchedulerEvent(.grow, cpu: cpu, thread: thread.id, count: grown))
      }
      if bytes > available { fail("more than the stack has was ensured") }
      if former != before { fail("the former floor is another") }
      let floor = min(before, thread.stackPointer - bytes)
      thread.sections.append((former, floor))
      figures.sections += 1
      world.expectReserve(cpu)
      // Stores in the section, below the stack pointer, take no fault, and their values stay.
      let faults = world.growthFaults[cpu]
      if bytes >= 8 {
        try put(thread, thread.stackPointer - bytes, cpu, &random)
        try put(thread, thread.stackPointer - 8 * (1 + random.next(below: bytes / 8)), cpu, &random)
      }
      if world.growthFaults[cpu] != faults { fail("a fault inside an ensured section") }
    } catch let error as ThreadStackError {
      if bytes <= available || thread.record.scheduled.pointee.floor != before { fail("\(error)") }
    }
  }

  private func endSection(_ thread: ModelThread) {
    guard let section = thread.sections.popLast() else { return }
    thread.record.scheduled.pointee.floor = section.former
    forgetDead(thread)
  }
}
