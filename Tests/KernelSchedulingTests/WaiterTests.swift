// A thread that waits for frames is not kept waiting by makers of stacks, by threads that are ready, or by sleepers that
// are woken at a bad moment.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

/// One CPU without free memory: two threads run in turn and use their stacks whole, a third waits for the 3 frames that
/// its stack may need.
private final class Shortage {
  let world: SchedulingWorld
  let runners: [Record]
  let waiter: Record

  /// - Parameters:
  ///   - seed: the seed of the world; it also decides the number of cached stacks.
  ///   - prepare: called while there is memory.
  init(seed: UInt64, prepare: (SchedulingWorld) throws -> Void = { _ in }) throws {
    world = try SchedulingWorld(seed: seed)
    world.start()
    runners = try [world.thread(1), world.thread(2)]
    waiter = try world.thread(3)
    try prepare(world)
    for runner in runners {
      world.scheduler.enqueue(runner.scheduled)
      world.reschedule(0)
    }
    world.takeAway()
    // The reserve suffices for one of them, and the pool for the other.
    for _ in runners {
      let base = world.current[0].pointee.stackBase
      for page in 0..<4 { try world.store(UInt64(page) + 1, at: base + page * pageSize, cpu: 0) }
      world.current[0].pointee.savedStackPointer = base
      world.reschedule(0)
    }
    world.takeAway()
    world.scheduler.enqueue(waiter.scheduled)
    // It comes behind the runner that is ready.
    world.reschedule(0)
    world.reschedule(0)
  }

  var isWaiting: Bool { waiter.scheduled.pointee.state == .waitingForRefill }

  /// Lets the waiter run, and gives all memory back.
  func end() {
    world.giveBack()
    for _ in 0..<4 where world.current[0] != waiter.scheduled { world.reschedule(0) }
    #expect(world.current[0] == waiter.scheduled)
    for record in runners + [waiter] {
      if let stack = record.stack.take() { world.stacks.free(stack) }
    }
    #expect(world.simulation.violations.isEmpty)
  }
}

@Suite struct WaiterTests {
  @Test
  func `While a thread waits for frames, a cached stack is handed out, and a new one refused without a change`()
    throws
  {
    var more: [Record] = []
    let shortage = try Shortage(seed: 2) { world in more = try (10..<14).map { try world.thread($0) } }
    let world = shortage.world
    #expect(shortage.isWaiting && world.scheduler.refillWaiterCount == 1)
    for record in more { world.stacks.free(record.stack.take()!) }
    let cached = world.stacks.cachedStackCount
    #expect(cached > 0)
    var again: [Record] = []
    for id in 0..<cached { again.append(try world.thread(20 + id)) }
    let free = world.frames.buddy.freeFrames
    #expect(throws: ThreadStackError.refillsWait(threads: 1)) { try world.thread(30) }
    #expect(world.frames.buddy.freeFrames == free && world.stacks.liveStackCount == 3 + cached)
    let text = "\(ThreadStackError.refillsWait(threads: 1))"
    #expect(text == "1 thread waits for frames that their stacks may need: no new stack takes any before them")
    world.giveBack(3)
    world.reschedule(0)
    #expect(world.current[0] == shortage.waiter.scheduled && world.scheduler.refillWaiterCount == 0)
    world.giveBack()
    again.append(try world.thread(31))
    for record in again { world.stacks.free(record.stack.take()!) }
    shortage.end()
  }

  /// The way in which another owner takes each frame that comes free.
  enum Taker: CaseIterable { case makesStacks, takesFrames }

  @Test(arguments: Taker.allCases)
  func `Making stacks of all free frames keeps no thread waiting; taking the frames themselves does`(
    taker: Taker
  ) throws {
    for seed in 1...40 as ClosedRange<UInt64> {
      var random = SplitMix64(seed: seed)
      var held: [Record] = []
      // Without cached stacks: one of these is handed out, and takes no frame.
      let shortage = try Shortage(seed: seed * 3) { world in held = try (10..<18).map { try world.thread($0) } }
      let world = shortage.world
      var rounds = 0
      while shortage.isWaiting, rounds < 50 {
        rounds += 1
        switch taker {
        case .makesStacks:
          for _ in 0...random.next(below: 8) {
            if let record = held.popLast() { world.stacks.free(record.stack.take()!) }
          }
          // Not only the frames that it has given back itself.
          world.giveBack(random.next(below: 2))
          while let record = try? world.thread(100) { held.append(record) }
        case .takesFrames:
          world.giveBack(1 + random.next(below: 8))
          world.takeAway()
        }
        for _ in 0...random.next(below: 3) { world.reschedule(0) }
      }
      let isStarved = shortage.isWaiting
      #expect(isStarved == (taker == .takesFrames), "seed \(seed): \(rounds) rounds")
      for record in held { world.stacks.free(record.stack.take()!) }
      shortage.end()
    }
  }

  @Test func `Threads that are always ready do not keep their dead pages while another needs them`() throws {
    let shortage = try Shortage(seed: 1)
    let world = shortage.world
    #expect(shortage.isWaiting)
    // Two pages of the running thread stay live, and it becomes ready.
    let leaving = world.current[0]
    leaving.pointee.savedStackPointer = leaving.pointee.stackBase + 2 * pageSize
    world.reschedule(0)
    #expect(shortage.isWaiting && leaving.pointee.state == .ready)
    let other = world.current[0]
    other.pointee.savedStackPointer = other.pointee.stackBase + (4 * pageSize - 64)
    // It has given two; the other gives three, once its CPU has left it.
    #expect(world.reschedule(0) == leaving)
    #expect(world.reschedule(0) == shortage.waiter.scheduled)
    let released = world.log.events.filter { $0.kind == .release && $0.count > 0 }
    #expect(released.map(\.thread) == [leaving.pointee.id, other.pointee.id])
    #expect(released.map(\.count) == [2, 3])
    #expect(other.pointee.state == .ready && leaving.pointee.state == .ready)
    // The contents at or above the stack pointers have stayed.
    world.giveBack()
    for _ in 0..<3 {
      let current = world.current[0]
      if current != shortage.waiter.scheduled {
        for page in (current == leaving ? 2 : 3)..<4 {
          let word = try world.load(current.pointee.stackBase + page * pageSize, cpu: 0)
          #expect(word == UInt64(page) + 1)
        }
      }
      world.reschedule(0)
    }
    shortage.end()
  }

  @Test(arguments: [false, true])
  func `A sleeper that is woken while it is shrunk keeps its pages, unless a thread waits for frames`(
    somebodyWaits: Bool
  ) throws {
    var sleeper: Record?
    let shortage = try Shortage(seed: 1) { world in
      let record = try world.thread(4)
      sleeper = record
      world.scheduler.enqueue(record.scheduled)
      world.reschedule(0)
      try world.store(1, at: record.scheduled.pointee.stackBase, cpu: 0)
      // All of it is live for now.
      record.scheduled.pointee.savedStackPointer = record.scheduled.pointee.stackBase
      world.reschedule(0, .wait)
    }
    let world = shortage.world
    let thread = try #require(sleeper).scheduled
    #expect(shortage.isWaiting)
    // It was examined in vain: it runs and sleeps again, with dead pages.
    world.scheduler.wake(thread)
    while world.current[0] != thread { world.reschedule(0) }
    if !somebodyWaits {
      world.giveBack(3)
      while shortage.isWaiting || world.current[0] != thread { world.reschedule(0) }
    }
    thread.pointee.savedStackPointer = thread.pointee.stackBase + (4 * pageSize - 64)
    world.reschedule(0, .wait)
    #expect(thread.pointee.state == .waiting)
    world.log.look = { event in
      // No lock is held then.
      if event.kind == .retire, event.thread == 4 { world.scheduler.wake(thread) }
    }
    if somebodyWaits {
      world.reschedule(0)
      #expect(world.current[0] == shortage.waiter.scheduled)
    } else {
      #expect(world.scheduler.reclaim(target: 3, stacks: world.stacks) == 0)
    }
    world.log.look = nil
    let ends = world.log.events.filter { ($0.kind == .release || $0.kind == .putBack) && $0.count > 0 }
    #expect(ends.map(\.kind) == [somebodyWaits ? .release : .putBack] && ends.first?.count == 3)
    #expect(thread.pointee.state == .ready)
    shortage.end()
    world.stacks.free(sleeper!.stack.take()!)
  }
}
