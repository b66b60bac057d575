// The thread that runs next, and the CPU that is notified, step by step.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct SwitchTests {
  @Test
  func `Threads run round and round in the order in which they came; with none, the idle thread runs`() throws {
    let world = try SchedulingWorld()
    world.start()
    #expect(world.reschedule(0).pointee.id == -1)
    let threads = try (1...3).map { try world.thread($0) }
    for thread in threads { world.scheduler.enqueue(thread.scheduled) }
    let order = (0..<7).map { _ in world.reschedule(0).pointee.id }
    #expect(order == [1, 2, 3, 1, 2, 3, 1])
    #expect(world.reschedule(0, .exit).pointee.id == 2)
    #expect(threads[0].scheduled.pointee.state == .dead)
    #expect(world.reschedule(0, .wait).pointee.id == 3)
    #expect(world.reschedule(0).pointee.id == 3)
    #expect(world.reschedule(0, .wait).pointee.id == -1)
    world.scheduler.wake(threads[1].scheduled)
    // The only CPU is idle: it is to call the scheduler again.
    #expect(world.notifications() == 1)
    #expect(world.reschedule(0).pointee.id == 2)
    #expect(world.simulation.violations.isEmpty)
    for thread in threads { world.stacks.free(thread.stack.take()!) }
  }

  @Test func `A wake-up that comes before the wait ends the wait at once, and only one`() throws {
    let world = try SchedulingWorld()
    world.start()
    let thread = try world.thread(1)
    world.scheduler.enqueue(thread.scheduled)
    world.reschedule(0)
    world.scheduler.wake(thread.scheduled)
    world.scheduler.wake(thread.scheduled)
    #expect(world.reschedule(0, .wait).pointee.id == 1)
    #expect(world.reschedule(0, .wait).pointee.id == -1)
    #expect(thread.scheduled.pointee.state == .waiting)
    world.stacks.free(thread.stack.take()!)
  }

  @Test
  func `An idle CPU is named when there is work elsewhere, takes it, and the thread's CPU follows`() throws {
    let world = try SchedulingWorld(cpuCount: 3)
    world.start()
    let threads = try (1...2).map { try world.thread($0) }
    for thread in threads { world.scheduler.enqueue(thread.scheduled) }
    #expect(world.notifications() == 1)
    #expect(world.reschedule(0).pointee.id == 1)
    // One thread is left in CPU 0's queue: one of the idle CPUs is wanted.
    #expect(world.notifications() == 2)
    world.simulation.onCPU(2) { _ in #expect(world.reschedule(2).pointee.id == 2) }
    #expect(threads[1].scheduled.pointee.cpu == 2)
    // It sleeps there, and that is where it is ready again.
    world.simulation.onCPU(2) { _ in #expect(world.reschedule(2, .wait).pointee.id == -3) }
    world.scheduler.wake(threads[1].scheduled)
    #expect(world.notifications() == 4)
    #expect(world.readyCount(2) == 1)
    for thread in threads { world.stacks.free(thread.stack.take()!) }
  }

  @Test
  func `The first that waits for frames gets them first; others run on what is there, and take nothing`() throws
  {
    let world = try SchedulingWorld()
    world.start()
    let threads = try (1...5).map { try world.thread($0) }
    for thread in threads { world.scheduler.enqueue(thread.scheduled) }
    world.takeAway()
    // The reserve suffices for the first, and the pool for the second; both keep all their pages.
    for id in 1...2 {
      #expect(world.reschedule(0).pointee.id == id)
      try world.store(1, at: threads[id - 1].scheduled.pointee.stackBase, cpu: 0)
      threads[id - 1].scheduled.pointee.savedStackPointer = threads[id - 1].scheduled.pointee.stackBase
    }
    // 3, 4 and 5 have to wait; 1 and 2 go on, because they need nothing.
    #expect(world.reschedule(0).pointee.id == 1)
    #expect(world.scheduler.refillWaiterCount == 3)
    #expect(threads[2].scheduled.pointee.state == .waitingForRefill)
    world.giveBack(2)
    #expect(world.reschedule(0).pointee.id == 2)
    #expect(world.reserved(0) == 2)
    world.giveBack(1)
    #expect(world.reschedule(0).pointee.id == 3)
    #expect(world.scheduler.refillWaiterCount == 2)
    world.giveBack()
    #expect((0..<4).map { _ in world.reschedule(0).pointee.id } == [4, 5, 1, 2])
    #expect(world.log.events.filter { $0.kind == .waitForRefill }.map(\.thread) == [3, 4, 5])
    for thread in threads { world.stacks.free(thread.stack.take()!) }
  }

  @Test
  func `A stall is reported once, when nothing can run on any CPU; a thread that runs afterwards ends it`()
    throws
  {
    let world = try SchedulingWorld(cpuCount: 2)
    world.start()
    let threads = try (1...8).map { try world.thread($0) }
    for thread in threads { world.scheduler.enqueue(thread.scheduled) }
    world.takeAway()
    // Threads use all of their stacks and sleep, until a CPU finds none that could run.
    func exhaust(_ cpu: Int, _ whileRunning: () -> Void = {}) throws -> Int {
      var count = 0
      while world.reschedule(cpu, world.current[cpu].pointee.id > 0 ? .wait : .stay).pointee.id > 0 {
        let thread = world.current[cpu]
        try world.store(1, at: thread.pointee.stackBase, cpu: cpu)
        thread.pointee.savedStackPointer = thread.pointee.stackBase
        count += 1
        whileRunning()
      }
      return count
    }
    let first = try exhaust(0)
    #expect(first > 0 && world.scheduler.refillWaiterCount == 8 - first)
    // CPU 1 has done nothing yet, and has a reserve.
    for _ in 0..<3 { #expect(world.reschedule(0).pointee.id == -1) }
    #expect(!world.takeStall())
    let second = try world.simulation.onCPU(1) { _ in
      try exhaust(1) {
        world.simulation.onCPU(0) { _ in for _ in 0..<3 { #expect(world.reschedule(0).pointee.id == -1) } }
        #expect(!world.takeStall())
      }
    }
    #expect(second == 1)
    var reports = 0
    for _ in 0..<6 {
      for cpu in 0..<2 {
        world.simulation.onCPU(cpu) { _ in
          #expect(world.reschedule(cpu).pointee.id < 0)
          if world.takeStall() { reports += 1 }
        }
      }
    }
    #expect(reports == 1)
    var waiters: [Int] = []
    world.scheduler.visitRefillWaiters { waiters.append($0.pointee.id) }
    #expect(waiters == Array(first + 2...8))
    world.giveBack(3)
    #expect(world.reschedule(0).pointee.id == waiters.first)
    #expect(!world.takeStall())
    world.giveBack()
    for thread in threads { world.stacks.free(thread.stack.take()!) }
  }

  /// A world whose one CPU has found a stall: some threads sleep on stacks that are used to their ends, the others wait.
  private func stalledWorld() throws -> (SchedulingWorld, [Record]) {
    let world = try SchedulingWorld()
    world.start()
    let threads = try (1...4).map { try world.thread($0) }
    world.takeAway()
    for thread in threads { world.scheduler.enqueue(thread.scheduled) }
    while world.reschedule(0, world.current[0].pointee.id > 0 ? .wait : .stay).pointee.id > 0 {
      let thread = world.current[0]
      try world.store(1, at: thread.pointee.stackBase, cpu: 0)
      thread.pointee.savedStackPointer = thread.pointee.stackBase
    }
    for _ in 0..<4 { #expect(world.reschedule(0).pointee.id == -1) }
    return (world, threads)
  }

  @Test func `A stall that a wake-up ended before it was reported is not reported; the next one is`() throws {
    let (world, threads) = try stalledWorld()
    // Its stack is mapped whole: it can run.
    world.scheduler.wake(threads[0].scheduled)
    #expect(!world.takeStall())
    #expect(world.reschedule(0).pointee.id == 1)
    #expect(!world.takeStall())
    #expect(world.reschedule(0, .wait).pointee.id == -1)
    var reports = 0
    for _ in 0..<6 {
      #expect(world.reschedule(0).pointee.id == -1)
      if world.takeStall() { reports += 1 }
    }
    #expect(reports == 1)
    #expect(world.log.count(.stall) == 1)
    world.giveBack()
    for thread in threads { world.stacks.free(thread.stack.take()!) }
  }

  @Test func `A stall that has not ended is reported, whenever the report is taken`() throws {
    let (world, threads) = try stalledWorld()
    for _ in 0..<10 { #expect(world.reschedule(0).pointee.id == -1) }
    #expect(world.takeStall())
    #expect(!world.takeStall())
    world.giveBack()
    for thread in threads { world.stacks.free(thread.stack.take()!) }
  }
}
