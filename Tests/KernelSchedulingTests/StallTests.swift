// A CPU that leaves its last thread: no stall is reported before other CPUs can reach its frames, whenever they check.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct StallTests {
  /// Two CPUs without free memory: CPU 0 idles, CPU 1 runs a thread that has used its stack to the end, the others wait.
  private struct Shortage {
    let world: SchedulingWorld
    let threads: [Record]
    /// The thread that CPU 1 runs.
    let last: ScheduledThreadPointer

    init() throws {
      world = try SchedulingWorld(cpuCount: 2)
      world.start()
      threads = try (1...8).map { [world] in try world.thread($0) }
      for thread in threads { world.scheduler.enqueue(thread.scheduled) }
      world.takeAway()
      while world.reschedule(0, world.current[0].pointee.id > 0 ? .wait : .stay).pointee.id > 0 {
        try Self.useStack(of: 0, world)
      }
      // Only CPU 1's reserve is left.
      last = world.simulation.onCPU(1) { [world] _ in world.reschedule(1) }
      try #require(last.pointee.id > 0)
      try world.simulation.onCPU(1) { [world] _ in try Self.useStack(of: 1, world) }
      try #require(world.scheduler.refillWaiterCount > 0)
    }

    static func useStack(of cpu: Int, _ world: SchedulingWorld) throws {
      let thread = world.current[cpu]
      try world.store(1, at: thread.pointee.stackBase, cpu: cpu)
      thread.pointee.savedStackPointer = thread.pointee.stackBase
    }

    /// Lets the other CPU look again and again, in vain, which it must not take for a stall.
    func lookInVain() {
      world.simulation.onCPU(0) { _ in
        for _ in 0..<6 {
          #expect(world.reschedule(0).pointee.id == -1)
          #expect(!world.takeStall(), "thread \(last.pointee.id) has pages that nobody has looked at")
        }
      }
    }
  }

  @Test(arguments: [SwitchRequest.wait, .exit], [false, true])
  func `No stall is reported while a CPU leaves its last thread, whose pages a waiter then gets`(
    request: SwitchRequest, isClosed: Bool
  ) throws {
    let shortage = try Shortage()
    let (world, last) = (shortage.world, shortage.last)
    var waiters: [Int] = []
    world.scheduler.visitRefillWaiters { waiters.append($0.pointee.id) }
    let hasClosed = isClosed && world.scheduler.closeCPU(1)
    #expect(hasClosed == isClosed)
    // All but the top page is dead once it sleeps.
    last.pointee.savedStackPointer = last.pointee.stackBase + (4 * pageSize - 64)
    var looks = 0
    world.whileSwitching = {
      world.whileSwitching = nil
      looks += 1
      shortage.lookInVain()
    }
    world.simulation.onCPU(1) { _ in
      #expect(world.reschedule(1, request).pointee.id == -2)
      guard request == .exit else { return }
      // Its stack is not free yet.
      shortage.lookInVain()
      world.stacks.free(shortage.threads[last.pointee.id - 1].stack.take()!)
    }
    #expect(looks == 1)
    for _ in 0..<2 {
      world.simulation.onCPU(1) { _ in #expect(world.reschedule(1).pointee.id == -2 || !isClosed) }
      world.simulation.onCPU(0) { _ in _ = world.reschedule(0) }
    }
    #expect(world.log.events.contains { $0.kind == .switchIn && $0.thread == waiters[0] })
    #expect(!world.takeStall() && world.log.count(.stall) == 0)
    world.giveBack()
    for thread in shortage.threads { if let stack = thread.stack.take() { world.stacks.free(stack) } }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `What another CPU ran while one looked in vain is no stall, though all are quiet before and after`()
    throws
  {
    let shortage = try Shortage()
    let (world, last) = (shortage.world, shortage.last)
    var waiters: [Int] = []
    world.scheduler.visitRefillWaiters { waiters.append($0.pointee.id) }
    try #require(waiters.count >= 2)
    // CPU 1's thread sleeps with all of its stack in use. Then both are quiet, and CPU 0 has looked once, in vain.
    world.simulation.onCPU(1) { _ in
      #expect(world.reschedule(1, .wait).pointee.id == -2)
      #expect(world.reschedule(1).pointee.id == -2)
    }
    world.simulation.onCPU(0) { _ in
      #expect(world.reschedule(0).pointee.id == -1)
      #expect(!world.takeStall())
    }
    // Memory comes free, for the first waiter and a frame more. It runs on CPU 1, and uses its frames.
    world.giveBack(4)
    try world.simulation.onCPU(1) { _ in
      let first = world.reschedule(1)
      try #require(first.pointee.id == waiters[0] && first != last)
      try Shortage.useStack(of: 1, world)
      first.pointee.savedStackPointer = first.pointee.stackBase + (4 * pageSize - 64)
    }
    // CPU 0 collects the one frame for the second, in vain. Before it checks whether all are quiet, the first sleeps: the
    // second needs its dead pages.
    var isAsleep = false
    world.log.look = { event in
      guard event.kind == .giveBackReserve, event.cpu == 0 else { return }
      world.log.look = nil
      isAsleep = true
      world.simulation.onCPU(1) { _ in
        #expect(world.reschedule(1, .wait).pointee.id == -2)
        #expect(world.reschedule(1).pointee.id == -2)
      }
    }
    world.simulation.onCPU(0) { _ in
      #expect(world.reschedule(0).pointee.id == -1)
      #expect(isAsleep && !world.takeStall(), "thread \(waiters[1]) can run")
      #expect(world.reschedule(0).pointee.id == waiters[1])
    }
    #expect(world.log.count(.stall) == 0)
    world.giveBack()
    for thread in shortage.threads { if let stack = thread.stack.take() { world.stacks.free(stack) } }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `A closed CPU gives back the stacks that it has cached, and those that it frees on its way`() throws {
    // A seed with which each CPU caches two.
    let world = try SchedulingWorld(cpuCount: 2, seed: 2)
    world.start()
    let threads = try (1...3).map { try world.thread($0) }
    world.simulation.onCPU(1) { _ in
      world.stacks.free(threads[0].stack.take()!)
      #expect(world.stacks.cachedStackCount == 1)
      world.scheduler.enqueue(threads[1].scheduled)
      #expect(world.reschedule(1).pointee.id == 2)
    }
    let hasClosed = world.scheduler.closeCPU(1)
    #expect(hasClosed)
    world.simulation.onCPU(1) { _ in
      #expect(world.reschedule(1, .exit).pointee.id == -2)
      let mayStop = world.scheduler.mayStop(1)
      #expect(world.stacks.cachedStackCount == 0 && !mayStop)
      world.stacks.free(threads[1].stack.take()!)
      #expect(world.stacks.cachedStackCount == 1)
      #expect(world.reschedule(1).pointee.id == -2)
      #expect(world.stacks.cachedStackCount == 0 && world.reserved(1) == 0)
    }
    let mayStop = world.scheduler.mayStop(1)
    #expect(mayStop)
    world.stacks.free(threads[2].stack.take()!)
    #expect(world.simulation.violations.isEmpty)
  }
}
