// The spin lock's slow path, step by step: the guarantees to its callers, in interleavings that follow from seeds.

import KernelMachine
import LockHarness
import SimulatedMachine
import Testing

/// The nodes of the queue are static: one test at a time.
@Suite(.serialized) struct SpinLockTests {
  /// The state shared by CPUs that take the lock again and again.
  private final class Run {
    let figures = UnsafeMutablePointer<lock_figures>.allocate(capacity: 1)
    var holder: Int?
    var trespasses = 0
    var turns = 0

    init() { figures.initialize(to: lock_figures()) }

    /// Lets CPUs take the lock `turns` times each, and holds it for some steps each time.
    func start(cpuCount: Int, turns: Int, seed: UInt64) throws {
      let simulation = try Simulation(
        SimulationConfiguration(
          memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 1 << 20)], cpuCount: cpuCount,
          seed: seed, stepLimit: 2_000_000))
      let body: (Simulated) throws -> Void = { [self] machine in
        let cpu = machine.currentCPU
        let context = Unmanaged.passUnretained(simulation)
        lock_harness_begin(
          UInt32(cpu), figures,
          { _ = Unmanaged<Simulation>.fromOpaque($0!).takeUnretainedValue().machine.currentCPU },
          context.toOpaque())
        for turn in 0..<turns {
          lock_harness_lock()
          if holder != nil { trespasses += 1 }
          holder = cpu
          for _ in 0...(turn % 8) { _ = machine.currentCPU }
          if holder != cpu { trespasses += 1 }
          holder = nil
          self.turns += 1
          lock_harness_unlock()
        }
      }
      try simulation.run(Array(repeating: body, count: cpuCount))
    }
  }

  @Test(arguments: [2, 3, 8])
  func `Every CPU that waits for a spin lock gets it, alone, and no wait is without an end`(cpuCount: Int)
    throws
  {
    var reservations: UInt64 = 0
    for seed in 1...60 as ClosedRange<UInt64> {
      let run = Run()
      try run.start(cpuCount: cpuCount, turns: 40, seed: seed)
      #expect(run.turns == cpuCount * 40, "seed \(seed)")
      #expect(run.trespasses == 0, "seed \(seed)")
      #expect(run.figures.pointee.waits_without_watch == 0, "seed \(seed)")
      #expect(run.figures.pointee.word == 0, "seed \(seed)")
      reservations += run.figures.pointee.reservations
    }
    #expect(cpuCount == 2 || reservations > 0, "no lock was reserved")
  }

  @Test(arguments: [3, 8])
  func `The first in a spin lock's queue reserves the lock when it has seen it held too often`(cpuCount: Int)
    throws
  {
    for seed in 1...80 as ClosedRange<UInt64> {
      let run = Run()
      try run.start(cpuCount: cpuCount, turns: 40, seed: seed)
      #expect(run.figures.pointee.most_looks <= UInt64(LOCK_PATIENCE) + 1, "seed \(seed)")
    }
  }
}
