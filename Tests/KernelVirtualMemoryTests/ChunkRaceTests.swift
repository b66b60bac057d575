// Small areas on several CPUs at once, while their chunks are made and released.

import KernelStacks
import SeededRandom
import SimulatedMachine
import TestSupport
import Testing

@Suite struct ChunkRaceTests {
  /// The state that a test's CPUs share; only one executes at a time.
  private final class Shared<M: PageTableMachine>: @unchecked Sendable {
    let area: VmallocArea<M>
    /// Areas in use: the address, the number of pages, and the first word of each page.
    var live: [(base: VirtualAddress, pages: Int, word: UInt64)] = []
    /// Where areas have been.
    var former: [VirtualAddress] = []
    var problems: [String] = []

    init(_ area: consuming VmallocArea<M>) { self.area = area }
  }

  @Test
  func `A chunk's frame goes back only when each CPU has let go of the lock under which it looks chunks up`()
    throws
  {
    for seed in 1...20 as ClosedRange<UInt64> {
      let world = try TestWorld(cpus: 2, seed: seed)
      let watch = Watch()
      let shared = Shared(VmallocArea(world.layout, machine: Watched(world.machine, watch)))
      func make() throws -> VirtualAddress {
        try shared.area.vmalloc(size: 4096, caller: "test", frames: world.frames)
      }
      // The chunk of CPU 1 stays.
      let other = try world.simulation.onCPU(1) { _ in
        _ = try make()
        return try make()
      }
      let base = try world.simulation.onCPU(0) { _ in try make() }
      try shared.area.vfree(base, frames: world.frames)
      let records = world.frames.count(.metadata)

      var (isInvalidated, isLocked, isOver, wasThere) = (false, false, false, false)
      watch.afterInvalidation = { scope in
        guard scope == .tables else { return }
        isInvalidated = true
        while !isLocked { _ = world.machine.currentCPU }
      }
      try world.simulation.run([
        { _ in
          _ = shared.area.flush(frames: world.frames)
          isOver = true
        },
        { machine in
          while !isInvalidated { _ = machine.currentCPU }
          watch.beforeStore = {
            watch.beforeStore = nil
            isLocked = true
            for _ in 0..<500 where !isOver { _ = machine.currentCPU }
            wasThere = world.frames.count(.metadata) == records && !isOver
          }
          try shared.area.vfree(other, frames: world.frames)
        },
      ])
      #expect(isLocked && wasThere, "seed \(seed): the frame went back while a CPU might use it")
      #expect(world.frames.count(.metadata) == records - 1, "seed \(seed)")
      shared.area._checkInvariants()
      world.expectNoViolations("seed \(seed)")
    }
  }

  @Test
  func `Areas keep what is in them while other CPUs free, flush, and try addresses of areas that are gone`()
    throws
  {
    for seed in 1...60 as ClosedRange<UInt64> {
      let world = try TestWorld(memoryBytes: 4 << 20, cpus: 3, seed: seed)
      let shared = Shared(VmallocArea(world.layout, machine: world.machine))
      try world.simulation.run(
        (0..<3).map { cpu in
          { machine in
            var random = SplitMix64(seed: seed &* 16 &+ UInt64(cpu))
            for _ in 0..<60 where shared.problems.isEmpty {
              try Self.step(shared, world, machine, &random)
            }
          }
        })
      #expect(shared.problems.isEmpty, "seed \(seed): \(shared.problems.first ?? "")")
      guard shared.problems.isEmpty else { continue }
      for held in shared.live { try shared.area.vfree(held.base, frames: world.frames) }
      _ = shared.area.flush(frames: world.frames)
      shared.area._checkInvariants()
      #expect(world.frames.outstanding.count == 2, "seed \(seed)")
      world.expectNoViolations("seed \(seed)")
    }
  }

  private static func step(
    _ shared: Shared<Simulated>, _ world: TestWorld, _ machine: Simulated, _ random: inout SplitMix64
  ) throws {
    switch random.next(below: 8) {
    case 0..<3:
      let pages = 1 + random.next(below: 3)
      let base = try shared.area.vmalloc(size: pages * 4096, caller: "test", frames: world.frames)
      let word = random.next() | 1
      for page in 0..<pages {
        let found: UInt64 = try machine.load(base + page * 4096)
        if found != 0 { shared.problems.append("a new page reads as \(found)") }
        try machine.store(word, to: base + page * 4096)
      }
      shared.live.append((base, pages, word))
    case 3..<6 where !shared.live.isEmpty:
      let held = shared.live.remove(at: random.next(below: shared.live.count))
      for page in 0..<held.pages {
        let found: UInt64 = try machine.load(held.base + page * 4096)
        if found != held.word { shared.problems.append("\(found) in place of \(held.word)") }
      }
      do {
        try shared.area.vfree(held.base, frames: world.frames)
        shared.former.append(held.base)
      } catch { shared.problems.append("\(error)") }
    case 6:
      guard let address = shared.former.randomElement(using: &random) else { return }
      // No other area begins in the middle of a page.
      if (try? shared.area.vfree(address + 8, frames: world.frames)) != nil {
        shared.problems.append("\(address + 8) was freed")
      }
    default: _ = shared.area.flush(frames: world.frames)
    }
  }
}
