// The part of the vmalloc area that stacks live in.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct StackArenaTests {
  private let table = 2 << 20

  @Test(arguments: [(32 << 10, 0), (32 << 10, 16 << 10), (64 << 10, 0), (1 << 22, 1 << 21), (1 << 30, 4096)])
  func `Alignment and phase are honoured`(alignment: Int, phase: Int) throws {
    let world = try TestWorld()
    let area = VmallocArea(world.layout, machine: world.machine)
    let below = try area.vmalloc(size: 4096, caller: "below", frames: world.frames)
    let base = try area.reserveStackArea(
      byteCount: 5 << 20, alignment: alignment, phase: phase, frames: world.frames)
    #expect(base.rawValue % UInt(alignment) == UInt(phase))
    let above = try area.vmalloc(size: 4096, alignment: 2 << 20, caller: "above", frames: world.frames)
    for general in [below, above] {
      let number = general.rawValue / UInt(table)
      let tables = base.rawValue / UInt(table)...(base.rawValue + 5 << 20 - 1) / UInt(table)
      #expect(!tables.contains(number), "no general area shares a last-level table with stacks")
    }
    area._checkInvariants()
  }

  @Test func `General areas fill the gap below, but not the arena's tables`() throws {
    let world = try TestWorld()
    let area = world.narrowArea()
    let first = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
    let base = try area.reserveStackArea(
      byteCount: 1 << 20, alignment: 32 << 10, phase: 16 << 10, frames: world.frames)
    let start = base.rawValue & ~UInt(table - 1)
    var highest: UInt = 0
    for _ in 0..<(512 / 2 + 20) {
      let general = try area.vmalloc(size: 4096, caller: "test", frames: world.frames)
      #expect(general.rawValue < start || general.rawValue >= start + UInt(table) + 4096)
      highest = max(highest, general.rawValue)
    }
    #expect(first.rawValue < start && highest > start)
    area._checkInvariants()
  }

  @Test(arguments: [39, 48]) func `Entries are found and tables released`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let area = VmallocArea(world.layout, machine: world.machine)
    let size = 3 << 30
    let base = try area.reserveStackArea(
      byteCount: size, alignment: 32 << 10, phase: 0, frames: world.frames)
    let range = VirtualAddressRange(base, byteCount: size)
    let before = world.frames.outstanding
    let root = world.rootEntries
    #expect(area.existingLeafEntry(at: base) == nil)
    #expect(area.releaseTables(covering: range, to: world.frames) == 0)
    #expect(world.machine.counters.tlbInvalidations == 0)

    let offsets = [0, 4096, 5 << 20, 1 << 30, size - 4096]
    var locations: [PhysicalAddress] = []
    for offset in offsets {
      let location = try area.leafEntry(at: base + offset, node: nil, frames: world.frames)
      #expect(area.existingLeafEntry(at: base + offset) == location)
      #expect(try area.leafEntry(at: base + offset, node: nil, frames: world.frames) == location)
      locations.append(location)
    }
    #expect(locations[1] == locations[0] + 8)
    #expect(area.figures.tableFrames == world.frames.count(.pageTable))

    let frame = try world.frames.allocate(FrameRequest(purpose: .threadStack, cleared: true))
    world.machine.writeEntry(area.stackEntry(for: frame), at: locations[2])
    world.machine.publishEntries()
    try world.machine.store(UInt64(3), to: base + offsets[2])
    #expect(area.page(of: base + offsets[2] + 100) == frame)
    let released = area.releaseTables(covering: range, to: world.frames)
    #expect(released == 3 + 2, "all but the one in use and those above it")
    #expect(world.machine.counters.tlbInvalidations == 1)
    #expect(area.existingLeafEntry(at: base + offsets[2]) == locations[2], "its table stays")
    #expect(area.existingLeafEntry(at: base) == nil)

    world.machine.writeEntry(world.machine.readEntry(at: locations[2]).retired, at: locations[2])
    #expect(area.releaseTables(covering: range, to: world.frames) == 0, "a retired entry is not an empty one")
    world.machine.invalidate(
      VirtualAddressRange(base + offsets[2], byteCount: 4096), in: .kernel, scope: .leaves)
    world.machine.writeEntry(.empty, at: locations[2])
    try world.frames.free(frame, order: 0)
    #expect(area.releaseTables(covering: range, to: world.frames) == (bits == 48 ? 3 : 2))
    #expect(world.frames.outstanding == before)
    #expect(world.rootEntries == root)
    #expect(area.figures.tableFrames == 0)
    area._checkInvariants()
    area.releaseStackArea(at: base, frames: world.frames)
    #expect(area.figures.areas == 0)
    #expect(
      try area.vmalloc(size: 40 * 4096, caller: "test", frames: world.frames)
        == world.layout.vmallocArea.lowerBound)
    world.expectNoViolations()
  }

  @Test func `Tables that lie only partly in the range stay`() throws {
    let world = try TestWorld()
    let area = VmallocArea(world.layout, machine: world.machine)
    let base = try area.reserveStackArea(byteCount: 8 << 20, alignment: 2 << 20, phase: 0, frames: world.frames)
    for index in 0..<4 { _ = try area.leafEntry(at: base + index * table, node: nil, frames: world.frames) }
    let range = VirtualAddressRange(base + 4096, base + (3 * table + 4096))
    #expect(area.releaseTables(covering: range, to: world.frames) == 2)
    #expect(area.existingLeafEntry(at: base) != nil)
    #expect(area.existingLeafEntry(at: base + table) == nil)
    #expect(area.existingLeafEntry(at: base + 2 * table) == nil)
    #expect(area.existingLeafEntry(at: base + 3 * table) != nil)
    world.expectNoViolations()
  }

  @Test(arguments: [39, 48]) func `Every refusal leaves all as it was`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let area = VmallocArea(world.layout, machine: world.machine)
    func refusal(of purpose: FramePurpose) -> FrameSourceError {
      .refused(FrameRefusal(order: 0, purpose: purpose, freeFrames: 7, largestFreeOrder: 0))
    }
    world.frames.requestsUntilRefusal = 0
    #expect(throws: StackArenaError.frames(refusal(of: .metadata))) {
      try area.reserveStackArea(byteCount: 1 << 20, alignment: 4096, phase: 0, frames: world.frames)
    }
    #expect(world.frames.outstanding.isEmpty)
    let base = try area.reserveStackArea(byteCount: 1 << 20, alignment: 4096, phase: 0, frames: world.frames)
    for granted in 0..<(bits == 48 ? 3 : 2) {
      world.frames.requestsUntilRefusal = granted
      #expect(throws: refusal(of: .pageTable)) {
        try area.leafEntry(at: base, node: nil, frames: world.frames)
      }
      #expect(world.frames.outstanding.count == 2)
      #expect(area.existingLeafEntry(at: base) == nil)
    }
    world.frames.requestsUntilRefusal = nil
    let range = world.layout.vmallocArea.byteCount
    let largest = range - (base - world.layout.vmallocArea.lowerBound) - table - 4096 - 256 * table
    #expect(throws: StackArenaError.noAddressSpace(requestedBytes: range, largestGapBytes: largest)) {
      try area.reserveStackArea(byteCount: range, alignment: 4096, phase: 0, frames: world.frames)
    }
    for bytes in [0, -4096, 100, range + 4096] {
      #expect(throws: StackArenaError.self) {
        try area.reserveStackArea(byteCount: bytes, alignment: 4096, phase: 0, frames: world.frames)
      }
    }
    area._checkInvariants()
  }

  @Test func `Releasing tables of a large arena reads only what exists`() throws {
    let simulation = try Simulation(
      SimulationConfiguration(
        memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 4 << 20)], recordsTrace: true))
    let frames = try TestFrames(simulation)
    let area = VmallocArea(try AddressLayout(), machine: simulation.machine)
    let size = 128 << 30
    let base = try area.reserveStackArea(byteCount: size, alignment: 4096, phase: 0, frames: frames)
    _ = try area.leafEntry(at: base + size / 2, node: nil, frames: frames)
    let before = simulation.trace.count
    #expect(area.releaseTables(covering: VirtualAddressRange(base, byteCount: size), to: frames) == 2)
    #expect(simulation.trace.count - before < 2_000, "an upper-level table, a leaf table, and the root")
  }
}
