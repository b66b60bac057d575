// Work that several CPUs do at the same time: the guarantees to the requesting thread, in interleavings that follow from seeds.

import KernelStacks
import Scenarios
import SimulatedMachine
import Synchronization
import Testing

@Suite struct SharedWorkTests {
  /// The state that the requesting thread and the requested CPUs share.
  private final class Run: @unchecked Sendable {
    let work = SharedWork()
    let parts = Atomic<Int>(0)
    /// Whether the record of the requesting thread still exists.
    let isThere = Atomic<Bool>(true)
    let isWoken = Atomic<Bool>(false)
    let isOver = Atomic<Bool>(false)
    var wakes = 0
    var lateWakes = 0
    var earlyEnds = 0
  }

  @Test
  func `A thread that shared work out is woken once, when all is done, and never after it has gone on`() throws
  {
    for seed in 1...300 as ClosedRange<UInt64> {
      let cpuCount = 2 + Int(seed % 3)
      let run = Run()
      let simulation = try Simulation(memoryBytes: 1 << 20, cpuCount: cpuCount, seed: seed)
      let asked = UInt64(1 << cpuCount - 2)
      try simulation.run(
        (0..<cpuCount).map { cpu in
          { machine in
            if cpu == 0 {
              for round in 1...4 {
                run.isThere.store(true, ordering: .relaxed)
                run.work.begin(asked)
                // A wait may end without a wake-up.
                while !run.work.isDone { _ = machine.currentNode }
                while !run.work.isReported { _ = machine.currentNode }
                if run.parts.load(ordering: .relaxed) != round * (cpuCount - 1) { run.earlyEnds += 1 }
                if !run.isWoken.exchange(false, ordering: .relaxed) { run.earlyEnds += 1 }
                run.isThere.store(false, ordering: .relaxed)
                _ = machine.currentNode
              }
              run.isOver.store(true, ordering: .relaxed)
            }
            while cpu > 0, !run.isOver.load(ordering: .relaxed) {
              _ = machine.currentNode
              guard run.work.isAsked(cpu) else { continue }
              run.parts.wrappingAdd(1, ordering: .relaxed)
              _ = machine.currentNode
              run.work.finish(cpu) {
                _ = machine.currentNode
                if !run.isThere.load(ordering: .relaxed) { run.lateWakes += 1 }
                run.isWoken.store(true, ordering: .relaxed)
                run.wakes += 1
              }
            }
          }
        })
      #expect(run.wakes == 4 && run.lateWakes == 0 && run.earlyEnds == 0, "seed \(seed)")
    }
  }
}
