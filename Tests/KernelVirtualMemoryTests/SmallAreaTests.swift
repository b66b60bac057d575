// Small areas take no lock but a CPU's own, lie in chunks, and are freed a few pages at a time.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct SmallAreaTests {
  typealias Area = VmallocArea<Simulated>

  @Test(arguments: [39, 48]) func `A small area is zero, contiguous, writable and guarded`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let area = Area(world.layout, machine: world.machine)
    for pages in 1...31 {
      let base = try area.vmalloc(size: pages * 4096, caller: "test", frames: world.frames)
      for page in 0..<pages {
        let word: UInt64 = try world.machine.load(base + (page * 4096 + 4088))
        #expect(word == 0)
        try world.machine.store(UInt64(page), to: base + page * 4096)
        let frame = area.page(of: base + page * 4096)
        #expect(frame.flatMap { world.frames.outstanding[$0] } == .vmalloc)
      }
      #expect(throws: SimulatedFault.self) { try world.machine.store(UInt64(1), to: base + pages * 4096) }
    }
    #expect(area.figures.areas == 31 && area.figures.mappedPages == 31 * 16)
    area._checkInvariants()
    world.expectNoViolations()
  }

  @Test func `A small area takes no lock but the CPU's`() throws {
    let world = try TestWorld()
    let area = Area(world.layout, machine: world.machine)
    var bases = [try area.vmalloc(size: 4 * 4096, caller: "first", frames: world.frames)]
    for _ in 0..<70 {
      let before = world.machine.counters.lockAcquisitions
      bases.append(try area.vmalloc(size: 4 * 4096, caller: "test", frames: world.frames))
      // The frame source's own lock is taken once for each frame.
      #expect(world.machine.counters.lockAcquisitions - before <= 4 + 1)
    }
    for base in bases {
      let locks = world.machine.counters.lockAcquisitions
      let frames = world.frames.freeFrames
      try area.vfree(base, frames: world.frames)
      let freed = UInt64(world.frames.freeFrames - frames)
      #expect(world.machine.counters.lockAcquisitions - locks <= freed + 1 + 2)
    }
  }

  @Test func `Alignments up to 64 pages are honoured in a chunk`() throws {
    let world = try TestWorld()
    let area = Area(world.layout, machine: world.machine)
    for round in 0..<4 {
      for shift in 12...18 {
        let base = try area.vmalloc(
          size: (1 + round) * 4096, alignment: 1 << shift, caller: "test", frames: world.frames)
        #expect(base.rawValue & (1 << UInt(shift) - 1) == 0)
      }
    }
    #expect(area.figures.recordFrames == 3, "one chunk holds them all")
    area._checkInvariants()
  }

  @Test func `No free pays for others`() throws {
    let world = try TestWorld(memoryBytes: 16 << 20)
    let area = Area(world.layout, machine: world.machine)
    var bases: [(base: VirtualAddress, pages: Int)] = []
    for index in 0..<200 {
      let pages = index % 9 == 0 ? 31 : 1 + index % 5
      bases.append((try area.vmalloc(size: pages * 4096, caller: "test", frames: world.frames), pages))
    }
    var invalidations = world.machine.counters.tlbInvalidations
    #expect(invalidations == 0)
    for (base, pages) in bases {
      let before = world.frames.freeFrames
      try area.vfree(base, frames: world.frames)
      let freed = world.frames.freeFrames - before
      #expect(freed <= max(pages + 4, 8))
      let after = world.machine.counters.tlbInvalidations
      #expect(after - invalidations <= 1 && (after == invalidations || freed == 0))
      invalidations = after
      #expect(area.figures.retiredPages <= 2 * Area.retiredPagesBound + 2 * 31, "what waits stays bounded")
      area._checkInvariants()
    }
    #expect(invalidations >= 3 && invalidations <= 200 / 16)
    world.expectNoViolations()
  }

  @Test func `What is not wanted any more goes back with a flush`() throws {
    let world = try TestWorld(memoryBytes: 32 << 20)
    let area = Area(world.layout, machine: world.machine)
    let root = world.rootEntries
    let bases = try (0..<400).map { _ in
      try area.vmalloc(size: 4 * 4096, caller: "test", frames: world.frames)
    }
    let chunks = area.figures.recordFrames - 2
    #expect(chunks == (400 + 98) / 99, "99 areas of five pages to a chunk")
    #expect(area.figures.tableFrames == chunks + 1)
    for base in bases.dropLast() { try area.vfree(base, frames: world.frames) }
    area.flush(frames: world.frames)
    #expect(area.figures.recordFrames == 2 + 1, "the chunk of the last area stays")
    #expect(world.frames.outstanding.count == 2 + 1 + 2 + 4)
    area._checkInvariants()
    try area.vfree(bases.last!, frames: world.frames)
    area.flush(frames: world.frames)
    #expect(world.frames.outstanding.count == 2)
    #expect(world.rootEntries == root)
    _ = try area.vmalloc(size: 4096, caller: "again", frames: world.frames)
    area._checkInvariants()
    world.expectNoViolations()
  }

  @Test func `Releasing a table takes one instruction`() throws {
    let world = try TestWorld()
    let area = Area(world.layout, machine: world.machine)
    let base = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    try area.vfree(base, frames: world.frames)
    area.flush(frames: world.frames)
    #expect(world.machine.counters.tlbInvalidations == 2)
    #expect(world.machine.counters.tlbInstructions == 1 + 1, "a page, then the table")
    world.expectNoViolations()
  }

  @Test func `When the chunks are used up, areas lie in the tree`() throws {
    let world = try TestWorld(memoryBytes: 16 << 20)
    let lower = world.layout.vmallocArea.lowerBound.rawValue
    let area = Area(lower..<lower + 32 << 20, machine: world.machine)
    var bases: [VirtualAddress] = []
    for _ in 0..<40 { bases.append(try area.vmalloc(size: 31 * 4096, caller: "test", frames: world.frames)) }
    let edge = lower + 28 << 20
    #expect(
      bases.count { $0.rawValue >= edge } == 2 * 496 / 32 - 1 + 0 || bases.contains { $0.rawValue < edge })
    #expect(bases.contains { $0.rawValue < edge } && bases.contains { $0.rawValue >= edge })
    area._checkInvariants()
    for base in bases { try area.vfree(base, frames: world.frames) }
    area.close(frames: world.frames)
    #expect(world.frames.outstanding.isEmpty)
    world.expectNoViolations()
  }

  @Test(arguments: [39, 48]) func `Every allocation refused in turn leaves all as it was`(bits: Int) throws {
    for others in [0, 16] {
      let world = try TestWorld(bits: bits)
      let area = Area(world.layout, machine: world.machine)
      // Half of a chunk each: the next area needs a new chunk.
      for _ in 0..<others {
        _ = try area.vmalloc(size: 31 * 4096, caller: "test", frames: world.frames)
      }
      let granted = refuseEveryAllocationInTurn(of: area, pageCount: 20, world)
      #expect(granted == 20 + (others == 0 ? 2 + 1 + (bits == 48 ? 3 : 2) : 0), "pages, state, chunk, tables")
      area._checkInvariants()
      world.expectNoViolations()
    }
  }

  @Test func `Bad frees are refused and change nothing`() throws {
    let world = try TestWorld()
    let area = Area(world.layout, machine: world.machine)
    func error(_ address: VirtualAddress) -> VmallocError? {
      thrown { () throws(VmallocError) in try area.vfree(address, frames: world.frames) }
    }
    let base = try area.vmalloc(size: 3 * 4096, caller: "test", frames: world.frames)
    let other = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    let figures = area.figures
    for address in [
      base - 4096, other + 8192, base + (2 << 20), base + (2 << 20 - 4096), VirtualAddress(UInt.max & ~4095),
    ] {
      #expect(error(address) == .foreignAddress(address))
    }
    for offset in [8, 4096, 3 * 4096, 3 * 4096 + 8] {
      #expect(error(base + offset) == .notTheStart(base + offset, of: base))
    }
    #expect(area.figures == figures)
    area._checkInvariants()
    try area.vfree(base, frames: world.frames)
    #expect(error(base) == .doubleFree(base))
    area.flush(frames: world.frames)
    #expect(error(base) == .foreignAddress(base))
    try area.vfree(other, frames: world.frames)
    area.flush(frames: world.frames)
    #expect(error(other) == .foreignAddress(other), "its chunk has gone")
    world.expectNoViolations()
  }
}
