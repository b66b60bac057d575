// Random runs over many seeds, and the conditions that hold after each.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

@Suite struct RandomTests {
  @Test(arguments: 0..<8, [false, true])
  func `Threads of all kinds keep what they stored, wait in order, and end, while CPUs come and go`(
    part: UInt64, lends: Bool
  ) throws {
    var total = RunFigures()
    for seed in part * 80 + 1...part * 80 + 80 {
      let figures = try run(seed: seed, lends: lends)
      total.growths += figures.growths
      total.refillWaits += figures.refillWaits
      total.released += figures.released
      total.putBack += figures.putBack
      total.migrations += figures.migrations
      total.stalls += figures.stalls
      total.sections += figures.sections
      total.closings += figures.closings
      total.openings += figures.openings
    }
    #expect(total.growths > 500 && total.refillWaits > 20 && total.released > 100 && total.sections > 200)
    #expect(total.closings > 200 && total.openings > 100)
    #expect(total.migrations > 500 && total.stalls + total.putBack > 0, "\(total)")
  }

  func run(seed: UInt64, lends: Bool) throws -> RunFigures {
    let run = try RandomRun(seed: seed, lends: lends)
    let world = run.world
    var random = SplitMix64(seed: seed)
    let cpuCount = world.cpuCount
    let initiallyFree = world.frames.buddy.freeFrames
    // Others hold so much that threads have to wait, and sometimes for ever.
    let wanted = random.next(below: 6)
    world.takeAway(max(0, initiallyFree - wanted))
    let permanent = world.takenCount
    run.budget =
      permanent + world.frames.buddy.freeFrames + world.stacks.reservedFrameCount + run.threads.count
    for thread in run.threads { world.scheduler.enqueue(thread.record.scheduled) }
    try world.simulation.run(
      (0..<cpuCount).map { cpu in
        { _ in
          var random = SplitMix64(seed: seed &* 131 &+ UInt64(cpu))
          try run.run(cpu: cpu, &random)
        }
      })
    if run.hasFailed { return run.figures }
    if lends { #expect(world.growthFaults.isEmpty, "seed \(seed): a stack fault") }
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
    #expect(run.waiters.isEmpty && world.scheduler.refillWaiterCount == 0, "seed \(seed)")
    for cpu in 0..<cpuCount {
      let isOpen = !world.scheduler.isClosed(cpu)
      #expect(world.isNotifiable(cpu) == isOpen, "seed \(seed): CPU \(cpu), which idles")
    }
    world.giveBack()
    for cpu in 0..<cpuCount {
      world.simulation.onCPU(cpu) { _ in
        _ = world.scheduler.reclaim(target: .max, stacks: world.stacks)
        world.stacks.fillReserve()
      }
    }
    world.stacks._checkInvariants()
    // All but the threads' stacks was there before; these are free now. The table that held them may have gone as well.
    let free = world.frames.buddy.freeFrames
    #expect(
      (run.threads.count...run.threads.count + 3).contains(free - initiallyFree),
      "seed \(seed): \(free - initiallyFree) frames more than at first, \(run.threads.count) threads")
    #expect(world.stacks.liveStackCount == 0, "seed \(seed)")
    return run.figures
  }
}
