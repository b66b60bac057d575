// A CPU that makes threads ready notifies as many idle CPUs as there are threads: all run without a tick.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

@Suite struct NotificationTests {
  @Test
  func `Of several threads that become ready on a busy CPU, each comes to an idle one, by notifications alone`()
    throws
  {
    let world = try SchedulingWorld(cpuCount: 4)
    world.start()
    let threads = try (1...4).map { try world.thread($0) }
    world.simulation.onCPU(0) { _ in
      world.scheduler.enqueue(threads[0].scheduled)
      world.reschedule(0)
      _ = world.notifications()
      for thread in threads.dropFirst() { world.scheduler.enqueue(thread.scheduled) }
    }
    var waiting = world.simulation.onCPU(0) { _ in world.notifications() }
    for _ in 0..<3 where waiting != 0 {
      let cpu = waiting.trailingZeroBitCount
      waiting = world.simulation.onCPU(cpu) { _ in
        world.reschedule(cpu)
        return waiting & ~(1 << UInt64(cpu)) | world.notifications()
      }
    }
    for cpu in 0..<4 { #expect(world.current[cpu].pointee.id > 0, "CPU \(cpu) idles") }
  }

  @Test
  func `A CPU that has not started, is busy or is closed is not notified; of those that idle, one is`() throws {
    let world = try SchedulingWorld(cpuCount: 5)
    let threads = try (1...4).map { try world.thread($0) }
    for cpu in 0..<4 { world.start(cpu) }
    func enqueue(_ thread: Int) -> UInt64 {
      world.simulation.onCPU(0) { _ in
        world.scheduler.enqueue(threads[thread].scheduled)
        return world.notifications()
      }
    }
    // CPU 0 idles itself, and is told first.
    #expect(enqueue(0) == 1 << 0)
    world.simulation.onCPU(0) { _ in world.reschedule(0) }
    #expect(enqueue(1) == 1 << 1)
    world.simulation.onCPU(1) { _ in world.reschedule(1) }
    #expect(world.current[1].pointee.id == 2)
    #expect(world.simulation.onCPU(0) { _ in world.scheduler.closeCPU(2) })
    #expect(enqueue(2) == 1 << 3)
    world.simulation.onCPU(3) { _ in world.reschedule(3) }
    #expect(enqueue(3) == 0, "CPU 2 is closed, CPU 4 has not started, all others are busy")
    world.simulation.onCPU(2) { _ in
      world.reschedule(2)
      world.reschedule(2)
    }
    #expect(!world.isNotifiable(2) && world.scheduler.mayStop(2))
    world.start(2)
    #expect(world.isNotifiable(2))
  }

  @Test
  func `Threads that wait for each other to run all do, with each of 200 interleavings, without a tick`() throws
  {
    for seed: UInt64 in 1...200 { try allRun(seed: seed) }
  }

  /// One thread makes the others ready, and no thread yields its CPU before all run.
  private func allRun(seed: UInt64) throws {
    let cpuCount = 2 + Int(seed % 4)
    let world = try SchedulingWorld(cpuCount: cpuCount, seed: seed, hasFrameLists: seed % 2 == 0)
    world.start()
    let threads = try (1...cpuCount).map { try world.thread($0) }
    let isGathered = seed / 2 % 2 == 0
    let run = Gathering(cpuCount)
    try world.simulation.run(
      (0..<cpuCount).map { cpu in
        { _ in
          if cpu == 0 {
            world.scheduler.enqueue(threads[0].scheduled)
            world.reschedule(0)
            run.deliver(world.notifications())
            for thread in threads.dropFirst() {
              world.scheduler.enqueue(thread.scheduled)
              if !isGathered { run.deliver(world.notifications()) }
            }
            run.deliver(world.notifications())
          }
          while !run.isOver {
            if world.current[cpu].pointee.id > 0 {
              run.running.insert(cpu)
            } else if run.isNotified[cpu] {
              run.isNotified[cpu] = false
              world.reschedule(cpu)
              run.deliver(world.notifications())
            }
            // A hand-over point.
            _ = world.machine.currentCPU
            run.turns += 1
            if run.turns > 20_000 { return }
          }
        }
      })
    #expect(run.isOver, "seed \(seed): threads run on CPUs \(run.running.sorted()) of \(cpuCount)")
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }
}

/// The CPUs that run a thread, and those that were notified; only one CPU executes at a time.
private final class Gathering: @unchecked Sendable {
  var running: Set<Int> = []
  var isNotified: [Bool]
  var turns = 0
  var isOver: Bool { running.count == isNotified.count }

  init(_ cpuCount: Int) { isNotified = Array(repeating: false, count: cpuCount) }

  func deliver(_ cpus: UInt64) {
    for cpu in isNotified.indices where cpus & 1 << UInt64(cpu) != 0 { isNotified[cpu] = true }
  }
}
