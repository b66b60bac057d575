// The real allocators on several CPUs: no violation on a machine that keeps its guarantees, one on each that forgets a duty.

import KernelStacks
import SeededRandom
import SimulatedMachine
import TestSupport
import Testing

@Suite struct AllocatorTests {
  /// CPUs map, use and free areas of the vmalloc area at random, in memory so small that frames are soon used again; the
  /// first one runs a process meanwhile.
  ///
  /// - Returns: the world after its end, and the number of missing frames.
  private func churn(
    cpus: Int, seed: UInt64, forgetting duty: Forgetful.Duty? = nil
  ) throws -> (simulation: Simulation, missingFrames: Int) {
    let simulation = try Simulation(memoryBytes: 2 << 20, cpuCount: cpus, seed: seed)
    let machine = Forgetful(simulation.machine, forgetting: duty)
    let bank = simulation.memoryBanks[0]
    var map = PhysicalMemoryMap()
    try map.addMemory(start: bank.start, byteCount: bank.byteCount, node: bank.node)
    let metadata = UnsafeMutableRawBufferPointer.allocate(
      byteCount: BuddyAllocator<Forgetful>.metadataByteCount(for: map), alignment: pageSize)
    defer { metadata.deallocate() }
    let frames = try BuddyAllocator(frames: map, metadata: metadata, machine: machine)
    let arena = VmallocArea(0xffff_ff80_0800_0000..<0xffff_ffbc_0000_0000, machine: machine)
    let root = try frames.allocate(FrameRequest(purpose: .pageTable, cleared: true))
    machine.publishEntries()
    simulation.machine.activate(root: root.physicalAddress, space: AddressSpaceID(5))
    let before = frames.freeFrames
    let body: (Simulated) throws -> Void = { cpu in
      var random = SplitMix64(seed: seed ^ UInt64(cpu.currentCPU) << 32)
      var live: [(base: VirtualAddress, value: UInt64)] = []
      for _ in 0..<120 {
        if live.count < 16, random.next(below: 3) != 0 {
          let base = try arena.vmalloc(size: 4 * pageSize, caller: "churn", frames: frames)
          let value = random.next()
          live.append((base, value))
          for page in 0..<4 { try cpu.store(value, to: base + page * pageSize) }
        } else if !live.isEmpty {
          let area = live.remove(at: random.next(below: live.count))
          for page in 0..<4 where duty == nil {
            #expect(try cpu.load(area.base + page * pageSize) == area.value, "seed \(seed)")
          }
          try arena.vfree(area.base, frames: frames)
        }
      }
      for area in live { try arena.vfree(area.base, frames: frames) }
      // The tables go back as well, and are soon another area's pages.
      _ = arena.flush(frames: frames)
    }
    do {
      try simulation.run(Array(repeating: body, count: cpus))
    } catch is SimulatedFault where duty != nil {
      // A forgotten duty may corrupt state.
    }
    let missing = before - frames.freeFrames - arena.figures.recordFrames
    // All freed frames get a new use.
    while let frame = try? frames.allocate(FrameRequest(purpose: .other, cleared: true)) { _ = frame }
    return (simulation, missing)
  }

  @Test(arguments: 1...10 as ClosedRange<UInt64>) func `The vmalloc area keeps the rules on several CPUs`(
    seed: UInt64
  )
    throws
  {
    for cpus in [1, 3] {
      let (simulation, missingFrames) = try churn(cpus: cpus, seed: seed)
      #expect(simulation.violations.isEmpty, "seed \(seed), \(cpus) CPUs")
      #expect(missingFrames == 0, "seed \(seed), \(cpus) CPUs")
    }
  }

  @Test(arguments: 1...4 as ClosedRange<UInt64>) func `Its runs are repeatable`(seed: UInt64) throws {
    let first = try churn(cpus: 3, seed: seed).simulation.traceHash
    #expect(try churn(cpus: 3, seed: seed).simulation.traceHash == first, "seed \(seed)")
  }

  @Test(arguments: 1...3 as ClosedRange<UInt64>) func `A machine that forgets a duty is found out`(seed: UInt64)
    throws
  {
    for duty in Forgetful.Duty.allCases {
      let simulation = try churn(cpus: 1, seed: seed, forgetting: duty).simulation
      #expect(!simulation.violations.isEmpty, "seed \(seed), \(duty)")
    }
  }
}
