// User address spaces: their translations are cached under an ASID that outlives their activation.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct UserSpaceTests {
  let kernel: SmallKernel
  let address = VirtualAddress(0x40_0000)
  let space = AddressSpaceID(5)

  init() throws { kernel = try SmallKernel() }

  var machine: Simulated { kernel.machine }
  var broken: [Violation.Rule] { kernel.simulation.brokenRules }

  private func newSpace(mapping frame: PageFrame) -> PhysicalAddress {
    let root = kernel.frame().physicalAddress
    kernel.map(frame, at: address, .userReadWrite, root: root)
    return root
  }

  /// Gives all frames of a space with one mapping another use, as its end does.
  private func reuse(_ frame: PageFrame, _ root: PhysicalAddress) {
    var tables: [PageFrame] = [root.frame]
    var table = root
    for level in 1..<3 {
      table = machine.readEntry(at: table + kernel.index(address, level) * 8).frame.physicalAddress
      tables.append(table.frame)
    }
    for table in tables { machine.clear(machine.linearAddress(of: table), byteCount: pageSize) }
    machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
  }

  @Test func `A space that never ran needs no invalidation`() {
    let frame = kernel.frame()
    reuse(frame, newSpace(mapping: frame))
    #expect(broken == [])
  }

  @Test func `A space that ran is given back after one invalidation`() throws {
    let frame = kernel.frame()
    let root = newSpace(mapping: frame)
    machine.activate(root: root, space: space)
    try machine.store(1, to: address, privilege: .user)
    machine.activate(root: nil)
    machine.invalidate(.everything, in: space, scope: .tablesAndLeaves)
    reuse(frame, root)
    #expect(broken == [])
    let second = newSpace(mapping: frame)
    machine.activate(root: second, space: space)
    #expect(try machine.load(address, privilege: .user) == 0)
    #expect(broken == [])
  }

  @Test func `A space that ran must not be given back without invalidation`() {
    let frame = kernel.frame()
    let root = newSpace(mapping: frame)
    machine.activate(root: root, space: space)
    machine.activate(root: nil)
    reuse(frame, root)
    #expect(broken.contains(.tableOverwritten))
  }

  @Test func `Unmapping in a space that is not active needs an invalidation if it ran`() {
    let frame = kernel.frame()
    let root = newSpace(mapping: frame)
    machine.activate(root: root, space: space)
    machine.activate(root: nil)
    kernel.retire(address, root: root)
    machine.publishEntries()
    machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    #expect(broken == [.frameReused])
  }

  @Test func `What is mapped and unmapped while no CPU walks the space is not cached`() {
    let root = newSpace(mapping: kernel.frame())
    machine.activate(root: root, space: space)
    machine.activate(root: nil)
    let frame = kernel.frame()
    kernel.map(frame, at: address + pageSize, .userReadWrite, root: root)
    kernel.retire(address + pageSize, root: root)
    machine.publishEntries()
    machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
    #expect(broken == [])
    machine.activate(root: root, space: space)
    #expect(broken == [])
  }

  @Test func `An identifier must be invalidated before another space gets it`() {
    let first = newSpace(mapping: kernel.frame())
    let second = newSpace(mapping: kernel.frame())
    machine.activate(root: first, space: space)
    machine.activate(root: second, space: space)
    #expect(broken == [.addressSpaceIDReused])
  }

  @Test func `A copy-on-write break by the book is not blamed`() throws {
    let shared = kernel.frame()
    let parent = newSpace(mapping: shared)
    machine.activate(root: parent, space: space)
    try machine.store(11, to: address, privilege: .user)

    // Fork: both read-only, shared, then one invalidation for the parent.
    let slot = kernel.entry(address, root: parent)
    machine.writeEntry(machine.readEntry(at: slot).readOnly, at: slot)
    let child = kernel.frame().physicalAddress
    kernel.map(shared, at: address, .userReadOnly, root: child)
    machine.invalidate(.everything, in: space, scope: .leaves)
    #expect(throws: SimulatedFault.self) { try machine.store(12, to: address, privilege: .user) }

    // The child writes: a copy, through an invalid entry.
    let childSpace = AddressSpaceID(6)
    machine.activate(root: child, space: childSpace)
    #expect(throws: SimulatedFault.self) { try machine.store(13, to: address, privilege: .user) }
    let copy = kernel.frame()
    machine.pointer(to: copy.physicalAddress).copyMemory(
      from: machine.pointer(to: shared.physicalAddress), byteCount: pageSize)
    kernel.retire(address, root: child)
    kernel.invalidate(address, in: childSpace)
    kernel.map(copy, at: address, .userReadWrite, root: child)
    try machine.store(13, to: address, privilege: .user)

    // The parent is the last owner: loosening, at most one spurious fault.
    machine.activate(root: parent, space: space)
    machine.writeEntry(machine.readEntry(at: slot).writable, at: slot)
    machine.publishEntries()
    _ = try? machine.store(14, to: address, privilege: .user)
    try machine.store(14, to: address, privilege: .user)
    machine.activate(root: child, space: childSpace)
    #expect(try machine.load(address, privilege: .user) == 13)
    #expect(broken == [])
  }

  @Test func `A copy-on-write break without the invalid step is caught`() {
    let root = newSpace(mapping: kernel.frame())
    machine.activate(root: root, space: space)
    kernel.write(.page(kernel.frame(), .userReadWrite), at: address, root: root)
    #expect(broken.first == .liveEntryChanged)
  }
}
