// A switch completes the thread's invalidations and dirty state before another CPU can find the thread.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct OrderTests {
  /// Two CPUs, and two threads in the queue of the first.
  private func world(
    seed: UInt64 = 1
  ) throws -> (world: SchedulingWorld, threads: [Record]) {
    let world = try SchedulingWorld(
      cpuCount: 2, seed: seed, strategy: .vmalloc, tracksDirtyPages: true, cachedStacksPerCPU: 4)
    world.start()
    return (world, try (1...2).map { try world.thread($0) })
  }

  private func free(_ threads: [Record], _ world: SchedulingWorld) {
    for thread in threads { if let stack = thread.stack.take() { world.stacks.free(stack) } }
  }

  @Test
  func `An invalidation that a thread has begun is complete before the thread goes on on another CPU`() throws {
    let (world, threads) = try world()
    for thread in threads { world.scheduler.enqueue(thread.scheduled) }
    #expect(world.reschedule(0).pointee.id == 1)
    let page = try world.stacks.arena.vmalloc(size: pageSize, caller: "test", frames: world.stacks.frames)
    let location = try #require(TranslationTables(kernelOf: world.machine).existingLeafEntry(at: page))
    let entry = world.machine.readEntry(at: location)
    world.machine.writeEntry(entry.retired, at: location)
    world.machine.beginInvalidation(
      VirtualAddressRange(page, byteCount: pageSize), in: .kernel, scope: .leaves)
    // A tick comes before the thread has waited for it.
    #expect(world.reschedule(0).pointee.id == 2)
    world.simulation.onCPU(1) { machine in
      #expect(world.reschedule(1).pointee.id == 1)
      machine.completeAccesses()
      machine.clear(machine.linearAddress(of: entry.frame), byteCount: pageSize)
    }
    #expect(world.simulation.violations.isEmpty)
    free(threads, world)
  }

  /// Ends the first thread on CPU 1, where its stack goes to another owner at once.
  ///
  /// - Returns: whether the new owner finds a word of it.
  private func leavesSomething(_ address: VirtualAddress, _ thread: Record, _ world: SchedulingWorld) throws
    -> Bool
  {
    try world.simulation.onCPU(1) { machine in
      #expect(world.reschedule(1).pointee.id == 1)
      #expect(world.reschedule(1, .exit).pointee.id < 0)
      #expect(world.scheduler.takeDeparted() == thread.scheduled)
      world.stacks.free(thread.stack.take()!)
      let next = try world.stacks.allocate(node: nil)
      let word: UInt64 = try machine.load(address)
      #expect(next.base == thread.scheduled.pointee.stackBase)
      world.stacks.free(next)
      return word != 0
    }
  }

  @Test(arguments: 1...24)
  func `What a thread has stored to its stack on one CPU is gone for the next owner on another`(seed: UInt64)
    throws
  {
    let (world, threads) = try world(seed: seed)
    for thread in threads { world.scheduler.enqueue(thread.scheduled) }
    #expect(world.reschedule(0).pointee.id == 1)
    let address = threads[0].scheduled.pointee.stackBase + 4096
    try world.machine.store(UInt64.max, to: address)
    #expect(world.reschedule(0).pointee.id == 2)
    #expect(try !leavesSomething(address, threads[0], world))
    #expect(world.simulation.violations.isEmpty)
    free(threads, world)
  }

  @Test(arguments: 1...24)
  func `So is what the CPU that made the thread has stored there, which the thread itself never touched`(
    seed: UInt64
  ) throws {
    let (world, threads) = try world(seed: seed)
    let address = threads[0].scheduled.pointee.stackBase
    try world.machine.store(UInt64.max, to: address)
    world.scheduler.enqueue(threads[0].scheduled)
    #expect(try !leavesSomething(address, threads[0], world))
    #expect(world.simulation.violations.isEmpty)
    free(threads, world)
  }
}
