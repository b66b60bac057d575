// Threads that move to other CPUs between any two steps of an operation: each barrier waits for its own CPU only.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

@Suite struct MigrationTests {
  static let cpuCount = 3

  private func world(
    _ seed: UInt64, _ migration: ThreadMigration, tracksDirtyPages: Bool = false
  ) throws -> World {
    try World(
      SimulationConfiguration(
        memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 2 << 20)], cpuCount: Self.cpuCount,
        seed: seed,
        tracksDirtyPages: tracksDirtyPages, migration: migration))
  }

  /// Threads make, use and free stacks, and give all memory back now and then, most of it with interrupts on.
  ///
  /// - Returns: the number of words of former owners that were found.
  private func churn(_ world: World, _ configuration: StackConfiguration, seed: UInt64) throws -> Int {
    let stacks = try world.stacks(configuration)
    nonisolated(unsafe) var leftovers = 0
    try withUnsafePointer(to: stacks) { shared in
      nonisolated(unsafe) let stacks = shared
      let bodies = (0..<Self.cpuCount).map { number in
        { (machine: Simulated) throws in
          var random = SplitMix64(seed: seed << 8 | UInt64(number))
          var owners: [Owner] = []
          for _ in 0..<80 {
            if owners.count < 6, random.next(below: 2) == 0 {
              guard let stack = try? stacks.pointee.allocate(node: nil) else { continue }
              let owner = Owner(stack)
              if DirtyPageTests.leftover(owner.base, stacks.pointee) != nil { leftovers += 1 }
              owners.append(owner)
            } else if let owner = owners.popLast() {
              for _ in 0..<random.next(below: 3) {
                try? machine.store(random.next() | 1, to: owner.base + random.next(below: 2048) * 8)
              }
              stacks.pointee.free(owner.take())
            }
            if random.next(below: 6) == 0 { stacks.pointee.reclaim(target: random.next(below: 40)) }
          }
          for owner in owners { stacks.pointee.free(owner.take()) }
        }
      }
      try world.simulation.run(bodies)
    }
    for cpu in 0..<Self.cpuCount { world.simulation.onCPU(cpu) { _ in _ = stacks.reclaim(target: .max) } }
    stacks._checkInvariants()
    #expect(world.ledger.frames(for: .threadStack) == 0, "seed \(seed)")
    return leftovers
  }

  private func configuration(_ seed: UInt64) -> StackConfiguration {
    StackConfiguration(
      .vmalloc, cachedStacksPerCPU: Int(seed) % 3, depotStacks: Int(seed) % 5,
      retirementBatch: 1 + Int(seed) % 4)
  }

  @Test(arguments: 1...16)
  func `Memory given back by threads that move is gone from all CPUs before it is used again`(seed: UInt64)
    throws
  {
    let world = try world(seed, .completing)
    #expect(try churn(world, configuration(seed), seed: seed) == 0)
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }

  @Test
  func `A switch must not wait for stores only: an invalidation would be waited for on the wrong CPU`() throws {
    var rules: Set<Violation.Rule> = []
    for seed in 1...16 as ClosedRange<UInt64> {
      let world = try world(seed, .publishingOnly)
      _ = try? churn(world, configuration(seed), seed: seed)
      rules.formUnion(world.simulation.violations.map(\.rule))
    }
    #expect(rules.contains(.frameReused))
  }

  @Test(arguments: 1...16)
  func `What threads that move have stored is gone for the next owner, where only used pages are cleared`(
    seed: UInt64
  ) throws {
    let world = try world(seed, .completing, tracksDirtyPages: true)
    #expect(try churn(world, configuration(seed), seed: seed) == 0, "seed \(seed)")
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }

  @Test
  func `A switch that waits for stores only does not do: the dirty state of what was stored may come later`()
    throws
  {
    var leftovers = 0
    for seed in 1...16 as ClosedRange<UInt64> {
      let world = try world(seed, .publishingOnly, tracksDirtyPages: true)
      leftovers += try churn(world, configuration(seed), seed: seed)
      _ = world.simulation.violations
    }
    #expect(leftovers > 0)
  }

  @Test(arguments: 1...8, [ThreadMigration.completing, .publishingOnly])
  func `Areas that threads free while they move keep the TLB rule; they are waited for with interrupts off`(
    seed: UInt64, migration: ThreadMigration
  ) throws {
    let world = try world(seed, migration)
    let area = VmallocArea(World.vmallocArea, machine: world.machine)
    let frames = TestFrames(ledger: world.ledger)
    let invalidations = world.machine.counters.tlbInvalidations
    try withUnsafePointer(to: area) { shared in
      nonisolated(unsafe) let area = shared
      let bodies = (0..<Self.cpuCount).map { number in
        { (machine: Simulated) throws in
          var random = SplitMix64(seed: seed << 8 | UInt64(number))
          for _ in 0..<30 {
            // Small ones, and some of the tree, of which few make a batch.
            let pages = random.next(below: 3) == 0 ? 40 : 1 + random.next(below: 3)
            guard let base = try? area.pointee.vmalloc(size: pages * pageSize, caller: "move", frames: frames)
            else {
              continue
            }
            try machine.store(UInt64(1), to: base)
            try area.pointee.vfree(base, frames: frames)
            if random.next(below: 6) == 0 { area.pointee.flush(frames: frames) }
          }
        }
      }
      try world.simulation.run(bodies)
    }
    #expect(world.machine.counters.tlbInvalidations > invalidations)
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }
}
