// The kernel's own tables in walk caches: each entry bears the ASID that was current, so dropping it under one is not enough.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct ASIDTests {
  let kernel: SmallKernel
  let page = SmallKernel.vmalloc
  let process = AddressSpaceID(5)

  init() throws { kernel = try SmallKernel(cpuCount: 2) }

  var machine: Simulated { kernel.machine }
  var broken: [Violation.Rule] { kernel.simulation.brokenRules }

  /// The root of an empty user half.
  private func emptyRoot() -> PhysicalAddress {
    let root = kernel.frame().physicalAddress
    machine.publishEntries()
    return root
  }

  /// Lets a CPU walk the empty user half of a process.
  private func run(_ space: AddressSpaceID, cpu: Int = 0, root: PhysicalAddress? = nil) {
    let root = root ?? emptyRoot()
    kernel.simulation.onCPU(cpu) { $0.activate(root: root, space: space) }
  }

  /// Takes the leaf table of the page away; the page was unmapped before.
  ///
  /// - Returns: the table's frame.
  private func retireTable() -> PageFrame {
    let slot = kernel.entry(page, level: 2)
    let descriptor = machine.readEntry(at: slot)
    machine.writeEntry(descriptor.retired, at: slot)
    return descriptor.frame
  }

  private func invalidate(
    _ scope: InvalidationScope, by change: (TLBInstruction) -> TLBInstruction = { $0 }
  ) {
    machine.invalidate(VirtualAddressRange(page, byteCount: pageSize), in: .kernel, scope: scope, by: change)
  }

  private func reuse(_ frame: PageFrame) {
    machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
  }

  @Test func `A kernel table that a process's CPU could walk is dropped whatever the ASID`() {
    _ = kernel.entry(page)
    run(process)
    let table = retireTable()
    invalidate(.tables)
    reuse(table)
    #expect(broken == [])
  }

  @Test(arguments: [0, 1], [InvalidationScope.tables, .tablesAndLeaves])
  func `Dropped by ASID 0, it stays in the walk caches of CPUs that run a process, this one's or another's`(
    cpu: Int, scope: InvalidationScope
  ) {
    _ = kernel.entry(page)
    run(process, cpu: cpu)
    let table = retireTable()
    invalidate(scope) { _ in .vae1is }
    reuse(table)
    #expect(broken == [.frameReused])
    #expect(kernel.simulation.violations[0].detail.contains("under ASID [5]"))
  }

  @Test func `Without a process since the table was linked, ASID 0 is all there is`() {
    run(process)
    machine.activate(root: nil)
    _ = kernel.entry(page)
    let table = retireTable()
    invalidate(.tables) { _ in .vae1is }
    reuse(table)
    #expect(broken == [])
  }

  @Test func `A process that has left since counts, too`() {
    _ = kernel.entry(page)
    run(process)
    machine.activate(root: nil)
    let table = retireTable()
    invalidate(.tables) { _ in .vae1is }
    reuse(table)
    #expect(broken == [.frameReused])
  }

  @Test func `A process that comes while the invalid entry is unpublished can still have it cached`() {
    _ = kernel.entry(page)
    let root = emptyRoot()
    let table = retireTable()
    run(process, cpu: 1, root: root)
    invalidate(.tables) { _ in .vae1is }
    reuse(table)
    #expect(broken == [.frameReused])
  }

  @Test func `A table that was put back is cached under the ASIDs of its former life, too`() {
    _ = kernel.entry(page)
    run(process)
    let slot = kernel.entry(page, level: 2)
    let descriptor = machine.readEntry(at: slot)
    machine.writeEntry(descriptor.retired, at: slot)
    machine.activate(root: nil)
    machine.writeEntry(descriptor, at: slot)
    machine.publishEntries()
    let table = retireTable()
    invalidate(.tables) { _ in .vae1is }
    reuse(table)
    #expect(broken == [.frameReused])
  }

  @Test func `The kernel's pages are global: an instruction by any ASID drops them`() {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    run(process)
    kernel.retire(page)
    invalidate(.leaves) { _ in .vale1is }
    reuse(frame)
    #expect(broken == [])
  }

  @Test(arguments: [false, true])
  func `A kernel page that is not global is dropped whatever the ASID, or not at all`(byOneASID: Bool) {
    let frame = kernel.frame()
    kernel.write(
      PageTableEntry(rawValue: PageTableEntry.page(frame, .kernelReadWrite).rawValue | 1 << 11), at: page)
    machine.publishEntries()
    run(process)
    kernel.retire(page)
    invalidate(.leaves) { byOneASID ? .vale1is : $0 }
    reuse(frame)
    #expect(broken == (byOneASID ? [.frameReused] : []))
  }

  @Test func `An access meets a stale table only on a CPU whose ASID it bears`() throws {
    _ = kernel.entry(page)
    run(process)
    kernel.map(kernel.frame(), at: page)
    kernel.retire(page)
    _ = retireTable()
    invalidate(.tablesAndLeaves) { _ in .vae1is }
    kernel.simulation.onCPU(1) { machine in _ = try? machine.load(page) }
    #expect(broken == [])
    _ = try? machine.load(page)
    #expect(broken == [.staleAccess])
  }

  @Test func `An instruction that reaches last-level entries only leaves the tables`() {
    _ = kernel.entry(page)
    let table = retireTable()
    invalidate(.tablesAndLeaves) { _ in .vaale1is }
    reuse(table)
    #expect(broken == [.frameReused])
  }

  @Test func `A process's pages are dropped by its own ASID only`() throws {
    let address = VirtualAddress(0x40_0000)
    for space in [process, AddressSpaceID(6)] {
      let kernel = try SmallKernel()
      let frame = kernel.frame()
      let root = kernel.frame().physicalAddress
      kernel.map(frame, at: address, .userReadWrite, root: root)
      kernel.machine.activate(root: root, space: process)
      kernel.retire(address, root: root)
      kernel.machine.invalidate(
        VirtualAddressRange(address, byteCount: pageSize), in: space, scope: .leaves)
      kernel.machine.clear(kernel.machine.linearAddress(of: frame), byteCount: pageSize)
      #expect(kernel.simulation.brokenRules == (space == process ? [] : [.frameReused]))
    }
  }
}
