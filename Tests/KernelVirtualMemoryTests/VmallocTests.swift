// The guarantees of vmalloc about one area at a time.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct VmallocTests {
  @Test(arguments: [39, 48]) func `An area is zero, contiguous and writable`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let area = world.narrowArea()
    let base = try area.vmalloc(size: 5 * 4096, caller: "test", frames: world.frames)
    #expect(base == world.layout.vmallocArea.lowerBound, "the lowest address")
    for offset in stride(from: 0, to: 5 * 4096, by: 8) {
      let word: UInt64 = try world.machine.load(base + offset)
      #expect(word == 0)
    }
    for page in 0..<5 { try world.machine.store(UInt64(page), to: base + page * 4096) }
    for page in 0..<5 {
      let found = area.page(of: base + page * 4096 + 123)
      let frame = try #require(found)
      #expect(world.frames.outstanding[frame] == .vmalloc)
      #expect(world.machine.pointer(to: frame.physicalAddress).load(as: UInt64.self) == UInt64(page))
    }
    let leaf = try #require(world.kernelTables.translate(base))
    #expect(!leaf.entry.isKernelExecutable && !leaf.entry.isUserExecutable && !leaf.entry.isUserAccessible)
    area._checkInvariants()
    world.expectNoViolations()
  }

  @Test func `Each area is followed by its guard`() throws {
    let world = try TestWorld()
    let area = world.narrowArea()
    let first = try area.vmalloc(size: 4096, guard: 3 * 4096, caller: "test", frames: world.frames)
    let second = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    #expect(second == first + 4 * 4096)
    for offset in [4096, 2 * 4096, 3 * 4096, 5 * 4096] {
      #expect(area.page(of: first + offset) == nil)
      #expect(throws: SimulatedFault.self) { try world.machine.store(UInt64(1), to: first + offset) }
    }
  }

  @Test(arguments: [12, 13, 15, 16, 21, 22, 25, 30]) func `Alignment is honoured`(shift: Int) throws {
    let world = try TestWorld()
    let area = VmallocArea(world.layout, machine: world.machine)
    _ = try area.vmalloc(size: 40 * 4096, caller: "below", frames: world.frames)
    let base = try area.vmalloc(size: 40 * 4096, alignment: 1 << shift, caller: "test", frames: world.frames)
    #expect(base.rawValue & (1 << UInt(shift) - 1) == 0)
    let lower = world.layout.vmallocArea.lowerBound.rawValue + 41 * 4096
    #expect(base.rawValue - lower < 1 << UInt(shift), "the lowest aligned address")
    area._checkInvariants()
  }

  @Test func `The lowest fit is taken`() throws {
    let world = try TestWorld()
    let area = world.narrowArea()
    let bases = try (0..<6).map { _ in try area.vmalloc(size: 3 * 4096, caller: "test", frames: world.frames) }
    try area.vfree(bases[1], frames: world.frames)
    try area.vfree(bases[3], frames: world.frames)
    try area.vfree(bases[4], frames: world.frames)
    area.flush(frames: world.frames)
    let large = try area.vmalloc(size: 5 * 4096, caller: "test", frames: world.frames)
    #expect(large == bases[3], "the first gap is too small")
    let small = try area.vmalloc(size: 2 * 4096, caller: "test", frames: world.frames)
    #expect(small == bases[1])
    world.expectNoViolations()
  }

  @Test func `A freed address is reused only after an invalidation`() throws {
    let world = try TestWorld()
    let area = world.narrowArea()
    let first = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    let freeFrames = world.frames.freeFrames
    try area.vfree(first, frames: world.frames)
    #expect(world.frames.freeFrames == freeFrames, "the frame waits")
    #expect(world.machine.counters.tlbInvalidations == 0)
    #expect(area.page(of: first) == nil)
    let second = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    #expect(second != first)
    #expect(area.flush(frames: world.frames) == 1)
    #expect(world.machine.counters.tlbInvalidations == 1)
    #expect(area.flush(frames: world.frames) == 0, "nothing waits")
    #expect(world.machine.counters.tlbInvalidations == 1)
    #expect(try area.vmalloc(size: 4096, caller: "test", frames: world.frames) == first)
    world.expectNoViolations()
  }

  @Test(arguments: [39, 48]) func `Everything goes back to the start`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let before = world.frames.freeFrames
    let root = world.rootEntries
    let area = VmallocArea(world.layout, machine: world.machine)
    var bases: [VirtualAddress] = []
    for index in 0..<60 {
      let alignment = index % 7 == 0 ? 2 << 20 : 4096
      bases.append(
        try area.vmalloc(
          size: (1 + index % 5) * 4096, alignment: alignment, caller: "test", frames: world.frames))
    }
    #expect(area.figures.areas == 60)
    #expect(area.figures.recordFrames == 2 + 1, "the state's, and one for a chunk")
    #expect(area.figures.tableFrames == world.frames.count(.pageTable))
    #expect(area.figures.mappedPages == world.frames.count(.vmalloc))
    for base in bases { try area.vfree(base, frames: world.frames) }
    area.flush(frames: world.frames)
    area._checkInvariants()
    #expect(area.figures.areas == 0)
    #expect(world.frames.freeFrames == before - 2, "all but the frames of the state")
    #expect(world.rootEntries == root)
    area.close(frames: world.frames)
    #expect(world.frames.freeFrames == before)
    world.expectNoViolations()
  }

  @Test func `Many frees share one invalidation`() throws {
    let world = try TestWorld()
    let area = world.narrowArea()
    var bases: [VirtualAddress] = []
    for _ in 0..<160 { bases.append(try area.vmalloc(size: 4096, caller: "test", frames: world.frames)) }
    for base in bases {
      try area.vfree(base, frames: world.frames)
      #expect(area.figures.retiredAreas <= 2 * VmallocArea<Simulated>.retiredAreasBound)
    }
    #expect(world.machine.counters.tlbInvalidations == 160 / 32)
    #expect(area.figures.retiredAreas == 32, "those of the last invalidation")
    let large = try area.vmalloc(size: 256 * 4096, caller: "test", frames: world.frames)
    let small = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    try area.vfree(large, frames: world.frames)
    #expect(area.figures.retiredPages == 256, "what was ready went back instead")
    try area.vfree(small, frames: world.frames)
    #expect(world.machine.counters.tlbInvalidations == 160 / 32 + 1, "many pages at once")
    world.expectNoViolations()
  }

  @Test func `When address space runs short, what waits is made free`() throws {
    let world = try TestWorld()
    let base = world.layout.vmallocArea.lowerBound.rawValue
    let area = VmallocArea(base..<base + 8 * 4096, machine: world.machine)
    let first = try area.vmalloc(size: 7 * 4096, caller: "test", frames: world.frames)
    try area.vfree(first, frames: world.frames)
    #expect(try area.vmalloc(size: 5 * 4096, caller: "test", frames: world.frames) == first)
    #expect(world.machine.counters.tlbInvalidations == 2, "pages, then their table")
    let error = thrown { () throws(VmallocError) in
      _ = try area.vmalloc(size: 3 * 4096, alignment: 8192, caller: "test", frames: world.frames)
    }
    #expect(error == .noAddressSpace(requestedBytes: 3 * 4096, alignment: 8192, largestGapBytes: 2 * 4096))
    #expect(error?.description == "12 KiB of address space at a multiple of 8 KiB refused: largest gap 8 KiB")
    world.expectNoViolations()
  }

  @Test func `When frames run short, what waits is made free`() throws {
    let world = try TestWorld(memoryBytes: 1 << 20)
    let area = world.narrowArea()
    let half = try area.vmalloc(size: 120 * 4096, caller: "test", frames: world.frames)
    try area.vfree(half, frames: world.frames)
    let large = try area.vmalloc(size: 200 * 4096, caller: "test", frames: world.frames)
    #expect(large.rawValue == half.rawValue + 121 * 4096)
    #expect(world.machine.counters.tlbInvalidations == 2, "pages, then their table")
    let free = world.frames.freeFrames
    let error = thrown { () throws(VmallocError) in
      _ = try area.vmalloc(size: 100 * 4096, caller: "test", frames: world.frames)
    }
    guard case .frames(.refused(let refusal)) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(refusal.purpose == .vmalloc)
    #expect(world.frames.freeFrames == free)
    area._checkInvariants()
    world.expectNoViolations()
  }

  @Test(arguments: [39, 48]) func `Every allocation refused in turn leaves all as it was`(bits: Int) throws {
    for isFirst in [true, false] {
      let world = try TestWorld(bits: bits)
      // The area to come crosses from one GiB to the next, so that tables of all levels are missing. If it is not the
      // first, the state's own page of records is full.
      let others = isFirst ? 0 : 17
      let lower =
        (world.layout.vmallocArea.lowerBound.rawValue | (1 << 30 - 1)) - 4095 - UInt(1 + 2 * others) * 4096
      let area = VmallocArea(lower..<lower + 8 << 20, machine: world.machine)
      for _ in 0..<others { _ = try area.vmalloc(size: 4096, caller: "test", frames: world.frames) }
      let granted = refuseEveryAllocationInTurn(of: area, pageCount: 5, world)
      let tables = isFirst ? (bits == 48 ? 5 : 4) : 2
      #expect(granted == 1 + 5 + tables, "records, pages, tables")
      #expect(world.machine.counters.tlbInvalidations == 0, "what was never linked needs no invalidation")
      area._checkInvariants()
      world.expectNoViolations()
    }
  }

  @Test func `Bad requests are refused with figures`() throws {
    let world = try TestWorld()
    let area = VmallocArea(world.layout, machine: world.machine)
    let before = world.frames.requests
    func error(
      size: Int = 4096, alignment: Int = 4096, guard guardBytes: Int = 4096, node: NodeID? = nil
    ) -> VmallocError? {
      thrown { () throws(VmallocError) in
        _ = try area.vmalloc(
          size: size, alignment: alignment, guard: guardBytes, node: node, caller: "test", frames: world.frames)
      }
    }
    #expect(error(size: 0) == .invalidSize(0))
    #expect(error(size: -4096) == .invalidSize(-4096))
    #expect(error(size: 100) == .invalidSize(100))
    let total = world.frames.totalFrames << 12
    #expect(error(size: total + 4096) == .oversized(requestedBytes: total + 4096, totalBytes: total))
    #expect(error(size: Int.max & ~4095) == .oversized(requestedBytes: Int.max & ~4095, totalBytes: total))
    for alignment in [0, -4096, 2048, 4097, 12288, Int.min] {
      #expect(error(alignment: alignment) == .invalidAlignment(alignment))
    }
    for guardBytes in [0, -4096, 100] {
      #expect(error(guard: guardBytes) == .invalidGuard(guardBytes))
    }
    #expect(error(node: NodeID(1)) == .unknownNode(NodeID(1), nodeCount: 1))
    #expect(error(node: NodeID(-1)) == .unknownNode(NodeID(-1), nodeCount: 1))
    #expect(world.frames.requests == before, "refused before anything was asked for")
    let range = world.layout.vmallocArea.byteCount
    let largest = range - (512 << 20)
    for guardBytes in [range, Int.max & ~4095] {
      #expect(
        error(guard: guardBytes)
          == .noAddressSpace(requestedBytes: 4096, alignment: 4096, largestGapBytes: largest))
    }
    #expect(
      error(alignment: 1 << 62)
        == .noAddressSpace(requestedBytes: 4096, alignment: 1 << 62, largestGapBytes: largest))
    #expect(world.frames.outstanding.isEmpty)
  }

  @Test func `Bad frees are refused with figures`() throws {
    let world = try TestWorld()
    let area = world.narrowArea()
    func error(_ address: VirtualAddress) -> VmallocError? {
      thrown { () throws(VmallocError) in try area.vfree(address, frames: world.frames) }
    }
    let lower = world.layout.vmallocArea.lowerBound
    #expect(error(lower) == .foreignAddress(lower), "before the first allocation")
    let base = try area.vmalloc(size: 2 * 4096, caller: "test", frames: world.frames)
    let other = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    let figures = area.figures
    #expect(error(VirtualAddress(0)) == .foreignAddress(VirtualAddress(0)))
    #expect(error(base - 4096) == .foreignAddress(base - 4096))
    #expect(error(other + 8192) == .foreignAddress(other + 8192))
    #expect(error(base + 8) == .notTheStart(base + 8, of: base))
    #expect(error(base + 4096) == .notTheStart(base + 4096, of: base))
    #expect(error(base + 8192) == .notTheStart(base + 8192, of: base), "its guard")
    #expect(area.figures == figures)
    try area.vfree(base, frames: world.frames)
    #expect(error(base) == .doubleFree(base))
    area.flush(frames: world.frames)
    #expect(error(base) == .foreignAddress(base))
    let stacks = try area.reserveStackArea(
      byteCount: 1 << 20, alignment: 4096, phase: 0, frames: world.frames)
    #expect(error(stacks) == .stackArena(stacks))
    area._checkInvariants()
  }

  @Test func `Errors are one line with figures`() {
    let address = VirtualAddress(0xffff_ff80_0800_0000)
    let errors: [(VmallocError, String)] = [
      (.invalidSize(100), "a size of 100 bytes is not a positive number of whole pages"),
      (.oversized(requestedBytes: 1 << 30, totalBytes: 1 << 20), "1 GiB refused: all memory is 1 MiB"),
      (.invalidAlignment(3), "an alignment of 3 bytes is not a power of two from 4096 up"),
      (.invalidGuard(0), "a guard of 0 bytes is not a positive number of whole pages"),
      (.unknownNode(NodeID(2), nodeCount: 1), "there is no NUMA node 2: there are 1"),
      (.foreignAddress(address), "no area starts at 0xffffff8008000000"),
      (
        .notTheStart(address + 8, of: address),
        "address 0xffffff8008000008 lies in the area that starts at 0xffffff8008000000"
      ),
      (.doubleFree(address), "the area at 0xffffff8008000000 is free already"),
      (.stackArena(address), "address 0xffffff8008000000 belongs to a stack arena"),
      (.occupied(address), "address 0xffffff8008000000 in the vmalloc area is mapped by somebody else"),
    ]
    for (error, text) in errors { #expect(error.description == text) }
  }

  @Test func `The node is honoured`() throws {
    let world = try TestWorld(nodes: 2)
    let area = VmallocArea(world.layout, machine: world.machine)
    for node in [1, 0, 1] {
      let base = try area.vmalloc(size: 3 * 4096, node: NodeID(node), caller: "test", frames: world.frames)
      for page in 0..<3 {
        let found = area.page(of: base + page * 4096)
        let frame = try #require(found)
        #expect(world.frames.node(of: frame) == NodeID(node))
      }
    }
  }

  @Test func `The listing names every area in use`() throws {
    let world = try TestWorld()
    let area = VmallocArea(world.layout, machine: world.machine)
    var text = Text()
    area.writeListing(to: &text)
    #expect(text.string.isEmpty)
    _ = try area.vmalloc(size: 4 * 4096, caller: "exception stack", frames: world.frames)
    let freed = try area.vmalloc(size: 4096, caller: "gone", frames: world.frames)
    _ = try area.vmalloc(size: 8192, guard: 8192, caller: "task table", frames: world.frames)
    _ = try area.vmalloc(size: 40 * 4096, caller: "process table", frames: world.frames)
    _ = try area.reserveStackArea(byteCount: 64 << 20, alignment: 32 << 10, phase: 0, frames: world.frames)
    try area.vfree(freed, frames: world.frames)
    area.writeListing(to: &text)
    #expect(
      text.string == """
        0xffffff8008000000-0xffffff8008029000  167936 process table pages=40 vmalloc
        0xffffff8008200000-0xffffff800c201000 67112960 stack arena stacks
        0xffffffbbe0000000-0xffffffbbe0005000   20480 exception stack pages=4 vmalloc
        0xffffffbbe0007000-0xffffffbbe000b000   16384 task table pages=2 vmalloc

        """)
  }

  @Test func `A foreign block in the area is found before anything is changed`() throws {
    let world = try TestWorld()
    let lower = world.layout.vmallocArea.lowerBound
    try world.kernelTables.mapBlocks(
      VirtualAddressRange(lower, byteCount: 2 << 20), to: PhysicalAddress(64 << 30), .kernelReadWrite,
      kind: .device, frames: world.frames)
    let before = world.frames.outstanding
    let area = world.narrowArea()
    #expect(throws: VmallocError.occupied(lower)) {
      try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    }
    #expect(world.frames.outstanding == before)
  }
}
