// Addresses outside a vmalloc area, and ranges without a page: no table is read for them.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct BoundTests {
  /// More CPUs than there are records for small areas.
  private let cpuCount = 17

  @Test(arguments: [8, 12, 15, 16, 31, 64])
  func `An address outside a vmalloc area of any size belongs to no area on any CPU, and nothing changes`(
    mebibytes: Int
  ) throws {
    let world = try TestWorld(cpus: cpuCount)
    let lower = world.layout.vmallocArea.lowerBound
    // A page short of whole MiB, so that no boundary of a chunk is that of the range.
    let upper = lower + (mebibytes << 20 - 4096)
    let area = VmallocArea(lower.rawValue..<upper.rawValue, machine: world.machine)
    let bases = try [1, 3, 40].map { pages in
      try area.vmalloc(size: pages * 4096, caller: "test", frames: world.frames)
    }
    let figures = area.figures
    let outside = [
      upper, upper + 4096, upper + 8, upper + (2 << 20), upper + (1 << 30), lower + -4096, VirtualAddress(0),
      VirtualAddress(UInt.max & ~4095), VirtualAddress(UInt.max),
    ]
    for cpu in 0..<cpuCount {
      world.simulation.onCPU(cpu) { _ in
        for address in outside {
          let error = thrown { () throws(VmallocError) in try area.vfree(address, frames: world.frames) }
          #expect(error == .foreignAddress(address), "CPU \(cpu)")
        }
      }
      try #require(world.simulation.violations.isEmpty, "CPU \(cpu)")
    }
    #expect(area.figures == figures)
    area._checkInvariants()
    for base in bases { try area.vfree(base, frames: world.frames) }
    area.close(frames: world.frames)
    #expect(world.frames.outstanding.isEmpty)
    world.expectNoViolations()
  }

  @Test
  func `A stack arena has no entries outside of its vmalloc area, nor where a block is mapped`() throws {
    let world = try TestWorld()
    let area = world.narrowArea()
    let base = try area.reserveStackArea(
      byteCount: 4 << 20, alignment: 2 << 20, phase: 0, frames: world.frames)
    let above = area.range.upperBound + (1 << 20)
    let frame = try world.frames.allocate(FrameRequest(purpose: .other))
    try world.kernelTables.map(frame, at: above, .kernelReadWrite, frames: world.frames)
    #expect(area.existingLeafEntry(at: above) == nil)
    #expect(area.page(of: above) == nil)
    #expect(throws: FrameSourceError.foreignFrame(PageFrame(above.rawValue >> 12))) {
      try area.leafEntry(at: above, node: nil, frames: world.frames)
    }
    // Another owner's block, where the arena would have a table.
    let block = try world.frames.allocate(FrameRequest(order: 9, purpose: .other))
    try world.kernelTables.mapBlocks(
      VirtualAddressRange(base, byteCount: 2 << 20), to: block.physicalAddress, .kernelReadWrite,
      frames: world.frames)
    let before = world.frames.outstanding
    #expect(throws: FrameSourceError.foreignFrame(block + 3)) {
      try area.leafEntry(at: base + 3 * 4096, node: nil, frames: world.frames)
    }
    #expect(world.frames.outstanding == before)
    #expect(try area.leafEntry(at: base + 2 << 20, node: nil, frames: world.frames).rawValue != 0)
    world.expectNoViolations()
  }

  @Test func `Nothing is unmapped of a range without a page, or one that ends before it begins`() throws {
    let world = try TestWorld()
    let base = world.layout.vmallocArea.lowerBound
    let frame = try world.frames.allocate(FrameRequest(purpose: .other))
    try world.kernelTables.map(frame, at: base, .kernelReadWrite, frames: world.frames)
    let before = world.frames.outstanding
    for end in [base, base + -4096, VirtualAddress(0)] {
      let count = try world.kernelTables.unmap(
        VirtualAddressRange(base, end), in: .kernel, to: world.frames
      ) { _ in Issue.record("a page of no range") }
      #expect(count == 0)
    }
    #expect(world.machine.counters.tlbInvalidations == 0)
    #expect(world.kernelTables.translate(base)?.entry.frame == frame)
    #expect(world.frames.outstanding == before)
    world.expectNoViolations()
  }
}
