// The simulated MMU with correct tables.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct TranslationTests {
  let kernel: SmallKernel
  let page = SmallKernel.vmalloc

  init() throws { kernel = try SmallKernel() }

  @Test func `A mapped page is reached through its address`() throws {
    let frame = kernel.frame()
    kernel.map(frame, at: page)
    try kernel.machine.store(UInt32(0x1234_5678), to: page + 0x10)
    #expect(kernel.machine.pointer(to: frame.physicalAddress + 0x10).load(as: UInt32.self) == 0x1234_5678)
    #expect(try kernel.machine.load(page + 0x12, as: UInt16.self) == 0x1234)
    #expect(kernel.simulation.violations.isEmpty)
  }

  @Test(arguments: [39, 48]) func `Unmapped pages fault at the level that is missing`(bits: Int) throws {
    let kernel = try SmallKernel(virtualAddressBits: bits)
    let base = VirtualAddress(UInt.max << UInt(bits)) + (1 << 27)
    #expect(throws: fault(.translation, base, bits == 39 ? 1 : 0, .read)) { _ = try kernel.machine.load(base) }
    kernel.map(kernel.frame(), at: base)
    _ = try kernel.machine.load(base)
    let below = base - pageSize
    #expect(throws: fault(.translation, below, 2, .write)) { try kernel.machine.store(1, to: below) }
    let above = base + pageSize
    #expect(throws: fault(.translation, above, 3, .read)) { _ = try kernel.machine.load(above) }
    #expect(kernel.simulation.violations.isEmpty)
  }

  @Test func `Permissions hold`() throws {
    kernel.map(kernel.frame(), at: page, .kernelReadOnly)
    _ = try kernel.machine.load(page)
    #expect(throws: fault(.permission, page, 3, .write)) { try kernel.machine.store(1, to: page) }
    #expect(throws: fault(.permission, page, 3, .execute)) { try kernel.machine.fetch(page) }
    #expect(throws: fault(.permission, page, 3, .read, .user)) {
      _ = try kernel.machine.load(page, privilege: .user)
    }
    let text = page + pageSize
    kernel.map(kernel.frame(), at: text, .kernelExecute)
    try kernel.machine.fetch(text)
    #expect(kernel.simulation.violations.isEmpty)
  }

  @Test func `A user space is seen only while it is active`() throws {
    let root = kernel.frame().physicalAddress
    let address = VirtualAddress(0x40_0000)
    let frame = kernel.frame()
    kernel.map(frame, at: address, .userReadWrite, root: root)
    #expect(throws: fault(.translation, address, 1, .read, .user)) {
      _ = try kernel.machine.load(address, privilege: .user)
    }
    kernel.machine.activate(root: root, space: AddressSpaceID(7))
    try kernel.machine.store(UInt8(9), to: address, privilege: .user)
    #expect(try kernel.machine.load(address, as: UInt8.self) == 9)
    #expect(throws: fault(.permission, address, 3, .execute, .user)) {
      try kernel.machine.fetch(address, privilege: .user)
    }
    kernel.machine.activate(root: nil)
    #expect(throws: (SimulatedFault).self) { _ = try kernel.machine.load(address) }
    #expect(kernel.simulation.violations.isEmpty)
  }

  @Test func `The linear map reaches all memory without tables`() throws {
    let frame = kernel.frame()
    let address = kernel.machine.linearAddress(of: frame)
    try kernel.machine.store(UInt64(42), to: address)
    #expect(kernel.machine.pointer(to: frame.physicalAddress).load(as: UInt64.self) == 42)
    #expect(throws: (SimulatedFault).self) { _ = try kernel.machine.load(address, privilege: .user) }
    #expect(throws: fault(.external, VirtualAddress(kernel.machine.linearMapOffset), 3, .read)) {
      _ = try kernel.machine.load(VirtualAddress(kernel.machine.linearMapOffset))
    }
  }

  @Test func `Blocks translate their whole span`() throws {
    let kernel = try SmallKernel(memoryBytes: 4 << 20)
    let first = PageFrame((1 << 30 | 2 << 20) >> 12)
    kernel.machine.writeEntry(.block(first, .kernelReadWrite), at: kernel.entry(page, level: 2))
    kernel.machine.publishEntries()
    let address = page + 0x12_3450
    try kernel.machine.store(UInt64(77), to: address)
    #expect(kernel.machine.pointer(to: first.physicalAddress + 0x12_3450).load(as: UInt64.self) == 77)
    #expect(kernel.simulation.violations.isEmpty)
  }

  @Test func `Clear goes through the tables`() throws {
    let frames = [kernel.frame(), kernel.frame()]
    kernel.map(frames[1], at: page)
    kernel.map(frames[0], at: page + pageSize)
    for frame in frames { kernel.machine.pointer(to: frame.physicalAddress).storeBytes(of: 5, as: UInt64.self) }
    kernel.machine.clear(page, byteCount: 2 * pageSize)
    for frame in frames {
      #expect(kernel.machine.pointer(to: frame.physicalAddress).load(as: UInt64.self) == 0)
    }
    #expect(kernel.simulation.violations.isEmpty)
    kernel.machine.clear(page + 2 * pageSize, byteCount: pageSize)
    #expect(kernel.simulation.brokenRules == [.invalidArgument])
  }

  private func fault(
    _ kind: SimulatedFault.Kind, _ address: VirtualAddress, _ level: Int, _ access: MemoryAccess,
    _ privilege: Privilege = .kernel
  ) -> SimulatedFault {
    SimulatedFault(kind: kind, address: address, level: level, access: access, privilege: privilege)
  }
}
