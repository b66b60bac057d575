// The TLB rule is kept with one CPU and with several, and a breach of it is found.

import KernelStacks
import SeededRandom
import SimulatedMachine
import TestSupport
import Testing

@Suite struct InvalidationTests {
  // A process runs meanwhile: the kernel's table entries that its CPU caches bear its ASID.
  private func churn<M: PageTableMachine>(_ machine: M, _ world: TestWorld) throws {
    let root = try world.frames.allocate(FrameRequest(purpose: .pageTable, cleared: true))
    world.machine.publishEntries()
    world.machine.activate(root: root.physicalAddress, space: AddressSpaceID(5))
    let range = world.layout.vmallocArea
    let (lower, upper) = (range.lowerBound.rawValue, range.upperBound.rawValue)
    try churn(VmallocArea(lower..<upper, machine: machine), world)
    // Here the released tables lie so close that they are named one by one.
    try churn(VmallocArea(lower..<lower + 15 << 20, machine: machine), world)
  }

  private func churn<M: PageTableMachine>(_ area: consuming VmallocArea<M>, _ world: TestWorld) throws {
    let area = area
    for round in 0..<4 {
      var bases: [VirtualAddress] = []
      for index in 0..<10 {
        bases.append(
          try area.vmalloc(
            size: (1 + index % 3) * 4096, alignment: index % 2 == 0 ? 4096 : 2 << 20, caller: "test",
            frames: world.frames))
      }
      for index in 0..<10 { try area.vfree(bases[(index + round) % 10], frames: world.frames) }
      area.flush(frames: world.frames)
    }
    area.close(frames: world.frames)
  }

  @Test func `A careful machine has no violations`() throws {
    let world = try TestWorld()
    try churn(world.machine, world)
    world.expectNoViolations()
  }

  @Test(arguments: Forgetful.Duty.allCases) func `A planted mistake is found`(duty: Forgetful.Duty) throws {
    let world = try TestWorld()
    try churn(Forgetful(world.machine, forgetting: duty), world)
    #expect(!world.simulation.violations.isEmpty)
  }

  /// The area, to be shared by simulated CPUs.
  private final class Shared: Sendable {
    let area: VmallocArea<Simulated>
    init(_ area: consuming VmallocArea<Simulated>) { self.area = area }
  }

  @Test(arguments: 1...12 as ClosedRange<UInt64>) func `Several CPUs keep the rule`(seed: UInt64) throws {
    let world = try TestWorld(bits: seed % 2 == 0 ? 48 : 39, memoryBytes: 4 << 20, cpus: 3, seed: seed)
    let shared = Shared(VmallocArea(world.layout, machine: world.machine))
    let frames = world.frames
    let general: (Simulated) throws -> Void = { machine in
      var random = SplitMix64(seed: seed &* 31 &+ UInt64(machine.currentCPU))
      var live: [(VirtualAddress, Int, UInt64)] = []
      for _ in 0..<120 {
        if random.next() % 2 == 0 || live.isEmpty {
          let pages = Int(1 + random.next() % 4)
          let base = try shared.area.vmalloc(
            size: pages * 4096, alignment: random.next() % 4 == 0 ? 2 << 20 : 4096, caller: "general",
            frames: frames)
          let mark = random.next()
          for page in 0..<pages {
            #expect(try machine.load(base + page * 4096) == UInt64(0), "seed \(seed)")
            try machine.store(mark, to: base + page * 4096)
          }
          live.append((base, pages, mark))
        } else {
          let (base, pages, mark) = live.remove(at: Int(random.next() % UInt64(live.count)))
          for page in 0..<pages { #expect(try machine.load(base + page * 4096) == mark, "seed \(seed)") }
          try shared.area.vfree(base, frames: frames)
        }
        if random.next() % 20 == 0 { shared.area.flush(frames: frames) }
        shared.area._checkInvariants(isQuiet: false)
      }
      for (base, _, _) in live { try shared.area.vfree(base, frames: frames) }
    }
    let stacks: (Simulated) throws -> Void = { machine in
      let size = 64 << 20
      let base = try shared.area.reserveStackArea(
        byteCount: size, alignment: 32 << 10, phase: 0, frames: frames)
      for round in 0..<20 {
        var mapped: [(VirtualAddress, PhysicalAddress)] = []
        for index in 0..<5 {
          let address = base + (round * 3 + index * 17) % 32 * (2 << 20) + index * 4096
          let location = try shared.area.leafEntry(at: address, node: nil, frames: frames)
          let frame = try frames.allocate(FrameRequest(purpose: .threadStack, cleared: true))
          machine.writeEntry(shared.area.stackEntry(for: frame), at: location)
          machine.publishEntries()
          try machine.store(UInt64(index), to: address)
          mapped.append((address, location))
        }
        for (_, location) in mapped {
          machine.writeEntry(machine.readEntry(at: location).retired, at: location)
        }
        machine.invalidate(VirtualAddressRange(base, byteCount: size), in: .kernel, scope: .leaves)
        for (_, location) in mapped {
          try frames.free(machine.readEntry(at: location).frame, order: 0)
          machine.writeEntry(.empty, at: location)
        }
        if round % 3 == 2 {
          _ = shared.area.releaseTables(covering: VirtualAddressRange(base, byteCount: size), to: frames)
        }
      }
      _ = shared.area.releaseTables(covering: VirtualAddressRange(base, byteCount: size), to: frames)
      shared.area.releaseStackArea(at: base, frames: frames)
    }
    try world.simulation.run([general, general, stacks])
    shared.area.flush(frames: frames)
    shared.area._checkInvariants()
    #expect(frames.outstanding.count == 2, "the frames of the state, seed \(seed)")
    #expect(shared.area.figures == VmallocFigures(recordFrames: 2), "seed \(seed)")
    world.expectNoViolations("seed \(seed)")
  }
}

extension VmallocFigures {
  init(recordFrames: Int) {
    self.init()
    self.recordFrames = recordFrames
  }
}
