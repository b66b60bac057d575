// The TLB rule: each way of breaking it is found, and code that keeps it causes no violation.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct StaleTranslationTests {
  let kernel: SmallKernel
  let page = SmallKernel.vmalloc
  let other = SmallKernel.vmalloc + 64 * pageSize

  init() throws {
    kernel = try SmallKernel()
    _ = kernel.entry(page)
    _ = kernel.entry(other)
  }

  var machine: Simulated { kernel.machine }
  var broken: [Violation.Rule] { kernel.simulation.brokenRules }

  // MARK: Correct sequences

  @Test func `A frame may be reused after the invalidation`() throws {
    let frame = kernel.frame()
    for round in 0..<8 {
      let address = round % 2 == 0 ? page : other
      kernel.map(frame, at: address)
      try machine.store(round, to: address)
      kernel.retire(address)
      kernel.invalidate(address)
      machine.writeEntry(.empty, at: kernel.entry(address))
      machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
      #expect(throws: SimulatedFault.self) { _ = try machine.load(address) }
    }
    #expect(broken == [])
  }

  @Test func `One invalidation serves many pages`() {
    let frames = (0..<32).map { _ in kernel.frame() }
    for round in 0..<3 {
      for (index, frame) in frames.enumerated() {
        kernel.map(frame, at: page + (index + round) % 32 * pageSize)
      }
      for index in 0..<32 { kernel.retire(page + index * pageSize) }
      machine.invalidate(VirtualAddressRange(page, byteCount: 32 * pageSize), in: .kernel, scope: .leaves)
    }
    #expect(broken == [])
  }

  @Test func `The same frame may be put back without invalidation`() throws {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    kernel.retire(page)
    machine.publishEntries()
    kernel.map(frame, at: page)
    try machine.store(1, to: page)
    machine.clear(page, byteCount: pageSize)
    machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    #expect(broken == [])
  }

  @Test func `Loosening needs no invalidation, and costs at most one spurious fault`() throws {
    var spurious = 0
    for seed in 1...16 as ClosedRange<UInt64> {
      let kernel = try SmallKernel(seed: seed)
      kernel.map(kernel.frame(), at: page, .kernelReadOnly)
      let slot = kernel.entry(page)
      kernel.machine.writeEntry(kernel.machine.readEntry(at: slot).writable, at: slot)
      kernel.machine.publishEntries()
      do throws(SimulatedFault) {
        try kernel.machine.store(1, to: page)
      } catch {
        #expect(error.kind == .permission)
        spurious += 1
      }
      try kernel.machine.store(1, to: page)
      #expect(kernel.simulation.violations.isEmpty)
    }
    #expect(spurious > 0 && spurious < 16)
  }

  @Test func `The entry count of a table may change while it is live`() throws {
    kernel.map(kernel.frame(), at: page)
    for level in 1...2 {
      let slot = kernel.entry(page, level: level)
      machine.writeEntry(machine.readEntry(at: slot).withEntryCount(17), at: slot)
    }
    _ = try machine.load(page)
    #expect(broken == [])
  }

  @Test func `A table may be reused after an invalidation of tables`() throws {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    let slot = kernel.entry(page, level: 2)
    let table = machine.readEntry(at: slot).frame
    kernel.retire(page)
    machine.writeEntry(machine.readEntry(at: slot).retired, at: slot)
    kernel.invalidate(page, scope: .tablesAndLeaves)
    machine.writeEntry(.empty, at: slot)
    machine.clear(machine.linearAddress(of: table), byteCount: pageSize)
    machine.publishEntries()
    let elsewhere = page + (64 << 20)
    machine.writeEntry(.table(table), at: kernel.entry(elsewhere, level: 2))
    kernel.map(frame, at: elsewhere)
    try machine.store(1, to: elsewhere)
    #expect(broken == [])
  }

  @Test func `A table may be put back without invalidation`() throws {
    kernel.map(kernel.frame(), at: page)
    let slot = kernel.entry(page, level: 2)
    let descriptor = machine.readEntry(at: slot)
    machine.writeEntry(descriptor.retired, at: slot)
    machine.writeEntry(descriptor, at: slot)
    machine.publishEntries()
    try machine.store(1, to: page)
    kernel.map(kernel.frame(), at: page + pageSize)
    #expect(broken == [])
  }

  @Test func `A linked subtree built beforehand is walked`() throws {
    let table = kernel.frame()
    let frame = kernel.frame()
    let address = page + (4 << 20)
    machine.writeEntry(.page(frame, .kernelReadWrite), at: table.physicalAddress + 8)
    machine.publishEntries()
    machine.writeEntry(.table(table), at: kernel.entry(address, level: 2))
    machine.publishEntries()
    try machine.store(3, to: address + pageSize)
    machine.writeEntry(.empty, at: table.physicalAddress + 8)
    kernel.invalidate(address + pageSize)
    kernel.map(frame, at: page)
    #expect(broken == [])
  }

  // MARK: Planted mistakes

  @Test func `Mapping a frame elsewhere before the invalidation is caught`() {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    kernel.retire(page)
    machine.publishEntries()
    kernel.map(frame, at: other)
    #expect(broken == [.frameReused])
    #expect(kernel.simulation.violations[0].address == page)
    #expect(kernel.simulation.violations[0].oldFrame == frame)
  }

  @Test func `Clearing a frame before the invalidation is caught`() {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    kernel.retire(page)
    machine.publishEntries()
    machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    #expect(broken == [.frameReused])
  }

  @Test func `Using a frame as a table before the invalidation is caught`() {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    kernel.retire(page)
    machine.publishEntries()
    machine.writeEntry(.empty, at: frame.physicalAddress)
    #expect(broken == [.frameReused])
  }

  @Test func `Mapping an address anew before the invalidation is caught`() {
    kernel.map(kernel.frame(), at: page)
    kernel.retire(page)
    machine.publishEntries()
    kernel.map(kernel.frame(), at: page)
    #expect(broken == [.addressReused])
  }

  @Test func `An invalidation of the wrong page is none`() {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    kernel.retire(page)
    kernel.invalidate(page + pageSize)
    kernel.invalidate(page, in: AddressSpaceID(3))
    kernel.map(frame, at: other)
    #expect(broken == [.frameReused])
  }

  /// Unmaps a page by a CPU, which begins the invalidation; after `order`, this CPU gives the frame another use.
  private func reuseAfterBeginning(on cpu: Int, then order: (Simulation) -> Void) throws -> [Violation.Rule] {
    let kernel = try SmallKernel(cpuCount: 2)
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    kernel.simulation.onCPU(cpu) { machine in
      kernel.retire(page)
      machine.beginInvalidation(VirtualAddressRange(page, byteCount: pageSize), in: .kernel, scope: .leaves)
    }
    order(kernel.simulation)
    kernel.machine.clear(kernel.machine.linearAddress(of: frame), byteCount: pageSize)
    return kernel.simulation.brokenRules
  }

  @Test func `An invalidation is complete when the CPU that began it has waited, and no other`() throws {
    #expect(try reuseAfterBeginning(on: 0) { $0.machine.completeAccesses() } == [])
    #expect(try reuseAfterBeginning(on: 1) { $0.onCPU(1) { $0.completeAccesses() } } == [])
    #expect(try reuseAfterBeginning(on: 1) { $0.machine.completeAccesses() } == [.frameReused])
    #expect(try reuseAfterBeginning(on: 0) { $0.machine.publishEntries() } == [.frameReused])
  }

  @Test func `What becomes stale after an invalidation was begun is not dropped when it completes`() {
    let frames = [kernel.frame(), kernel.frame()]
    for index in 0..<2 { kernel.map(frames[index], at: page + index * pageSize) }
    kernel.retire(page)
    machine.beginInvalidation(VirtualAddressRange(page, byteCount: 2 * pageSize), in: .kernel, scope: .leaves)
    kernel.retire(page + pageSize)
    machine.completeAccesses()
    machine.clear(machine.linearAddress(of: frames[0]), byteCount: pageSize)
    #expect(broken == [])
    machine.clear(machine.linearAddress(of: frames[1]), byteCount: pageSize)
    #expect(broken == [.frameReused])
  }

  @Test func `Changing a live entry is caught`() {
    let frames = [kernel.frame(), kernel.frame()]
    kernel.map(frames[0], at: page)
    kernel.write(.page(frames[1], .kernelReadWrite), at: page)
    #expect(broken.first == .liveEntryChanged)
    #expect(kernel.simulation.violations[0].oldFrame == frames[0])
    #expect(kernel.simulation.violations[0].newFrame == frames[1])
  }

  @Test func `Changing the memory kind of a live entry is caught`() {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    kernel.write(.page(frame, .kernelReadWrite, kind: .device), at: page)
    #expect(broken == [.liveEntryChanged])
  }

  @Test func `An access after unmapping is caught, and may still succeed`() throws {
    var outcomes: Set<Bool> = []
    for seed in 1...16 as ClosedRange<UInt64> {
      let kernel = try SmallKernel(seed: seed)
      let frame = kernel.frame()
      kernel.map(frame, at: page)
      kernel.retire(page)
      kernel.machine.publishEntries()
      outcomes.insert((try? kernel.machine.load(page)) != nil)
      #expect(kernel.simulation.brokenRules == [.staleAccess])
      #expect(kernel.simulation.violations[0].oldFrame == frame)
      kernel.invalidate(page)
      #expect(throws: SimulatedFault.self) { _ = try kernel.machine.load(page) }
      #expect(kernel.simulation.violations.count == 1)
    }
    #expect(outcomes == [true, false])
  }

  @Test func `A store after tightening without invalidation is caught`() throws {
    kernel.map(kernel.frame(), at: page)
    let slot = kernel.entry(page)
    machine.writeEntry(machine.readEntry(at: slot).readOnly, at: slot)
    machine.publishEntries()
    _ = try machine.load(page)
    #expect(broken == [])
    _ = try? machine.store(1, to: page)
    #expect(broken == [.staleAccess])
    kernel.invalidate(page)
    #expect(throws: SimulatedFault.self) { try machine.store(1, to: page) }
    #expect(broken == [.staleAccess])
  }

  @Test func `Invalidating leaves is not enough for a table`() {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    let slot = kernel.entry(page, level: 2)
    let table = machine.readEntry(at: slot).frame
    kernel.retire(page)
    machine.writeEntry(machine.readEntry(at: slot).retired, at: slot)
    machine.invalidate(.everything, in: .kernel, scope: .leaves)
    machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    #expect(broken == [])
    machine.clear(machine.linearAddress(of: table), byteCount: pageSize)
    #expect(broken == [.frameReused])
  }

  @Test func `A leaf of an unlinked table can be fetched again`() {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    let slot = kernel.entry(page, level: 2)
    machine.writeEntry(machine.readEntry(at: slot).retired, at: slot)
    kernel.invalidate(page, scope: .leaves)
    machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    #expect(broken == [.frameReused])
  }

  @Test func `Linking a table elsewhere before the invalidation is caught`() {
    kernel.map(kernel.frame(), at: page)
    let slot = kernel.entry(page, level: 2)
    let table = machine.readEntry(at: slot).frame
    kernel.retire(page)
    machine.writeEntry(machine.readEntry(at: slot).retired, at: slot)
    machine.publishEntries()
    machine.writeEntry(.table(table), at: kernel.entry(page + (64 << 20), level: 2))
    #expect(broken == [.frameReused])
  }

  @Test func `Clearing a live table is caught`() {
    kernel.map(kernel.frame(), at: page)
    let table = machine.readEntry(at: kernel.entry(page, level: 2)).frame
    machine.clear(machine.linearAddress(of: table), byteCount: pageSize)
    #expect(broken == [.tableOverwritten])
  }

  @Test func `A mapping that was not published is caught, and may fault`() throws {
    var outcomes: Set<Bool> = []
    for seed in 1...16 as ClosedRange<UInt64> {
      let kernel = try SmallKernel(seed: seed)
      kernel.write(.page(kernel.frame(), .kernelReadWrite), at: page)
      outcomes.insert((try? kernel.machine.load(page)) != nil)
      #expect(kernel.simulation.brokenRules == [.unpublishedAccess])
    }
    #expect(outcomes == [true, false])
  }

  @Test func `Linking a table whose clearing is not published is caught`() {
    let table = kernel.frame()
    machine.writeEntry(.table(table), at: kernel.entry(page + (64 << 20), level: 2))
    #expect(broken == [.unpublishedTable])
  }

  @Test func `Linking a table that was never cleared is caught`() {
    let table = kernel.frame(cleared: false)
    machine.writeEntry(.table(table), at: kernel.entry(page + (64 << 20), level: 2))
    #expect(broken == [.garbageTable])
  }

  @Test func `An invalidation does not help against a store that another CPU has not published`() throws {
    let kernel = try SmallKernel(cpuCount: 2)
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    kernel.simulation.onCPU(1) { _ in kernel.retire(page) }
    kernel.invalidate(page)
    kernel.map(frame, at: other)
    #expect(kernel.simulation.brokenRules == [.frameReused])
  }

  @Test func `Blocks obey the rule for each of their frames`() throws {
    let kernel = try SmallKernel(memoryBytes: 4 << 20)
    let first = PageFrame((1 << 30 | 2 << 20) >> 12)
    let slot = kernel.entry(page + (8 << 20), level: 2)
    kernel.machine.writeEntry(.block(first, .kernelReadWrite), at: slot)
    kernel.machine.publishEntries()
    kernel.machine.writeEntry(kernel.machine.readEntry(at: slot).retired, at: slot)
    kernel.machine.publishEntries()
    kernel.map(first + 100, at: page)
    #expect(kernel.simulation.brokenRules == [.frameReused])
    kernel.invalidate(page + (8 << 20))
    kernel.map(first + 101, at: page + pageSize)
    #expect(kernel.simulation.violations.count == 1)
  }

  @Test func `Malformed calls are reported`() {
    machine.writeEntry(.empty, at: PhysicalAddress(0))
    machine.writeEntry(.empty, at: machine.kernelRoot + 4)
    _ = machine.readEntry(at: PhysicalAddress(4))
    machine.invalidate(VirtualAddressRange(page + 1, byteCount: 10), in: .kernel, scope: .leaves)
    machine.clear(page + 1, byteCount: pageSize)
    machine.activate(root: kernel.frame().physicalAddress, space: .kernel)
    #expect(broken == Array(repeating: .invalidArgument, count: 6))
    #expect(throws: SimulationError.self) { try kernel.simulation.requireNoViolations() }
  }
}
