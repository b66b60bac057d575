// Tables are built and torn down level by level, and a refusal leaves nothing behind.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct TranslationTablesTests {
  private func depth(_ bits: Int) -> Int { bits == 48 ? 3 : 2 }

  @Test(arguments: [39, 48]) func `A mapped page is read and written through the MMU`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let address = world.layout.vmallocArea.lowerBound + 0x1234_5000
    let frame = try world.frames.allocate(FrameRequest(purpose: .vmalloc, cleared: true))
    try world.kernelTables.map(frame, at: address, .kernelReadWrite, frames: world.frames)
    #expect(world.frames.count(.pageTable) == depth(bits), "one table per level below the root")
    try world.machine.store(UInt64(42), to: address + 8)
    #expect(world.machine.pointer(to: frame.physicalAddress).load(fromByteOffset: 8, as: UInt64.self) == 42)
    let leaf = try #require(world.kernelTables.translate(address + 8))
    #expect(leaf.level == 3)
    #expect(leaf.address == address)
    #expect(leaf.frame(of: address + 8) == frame)
    #expect(leaf.physicalAddress(of: address + 8) == frame.physicalAddress + 8)
    #expect(world.kernelTables.existingLeafEntry(at: address) == leaf.location)
    #expect(world.kernelTables.translate(address + 4096) == nil)
    world.expectNoViolations()
  }

  @Test(arguments: [39, 48]) func `Unmapping gives tables back level by level`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let tables = world.kernelTables
    let before = world.frames.freeFrames
    let root = world.rootEntries
    let base = world.layout.vmallocArea.lowerBound.rawValue & ~(1 << 30 - 1) + (4 << 30)
    // Two pages of one leaf table, one of the next leaf table, one of the next GiB.
    let addresses = [0, 0x5000, 2 << 20, 1 << 30].map { VirtualAddress(base) + $0 }
    for address in addresses {
      let frame = try world.frames.allocate(FrameRequest(purpose: .vmalloc, cleared: true))
      try tables.map(frame, at: address, .kernelReadWrite, frames: world.frames)
    }
    let upper = bits == 48 ? 1 : 0
    #expect(world.frames.count(.pageTable) == upper + 2 + 3)
    func unmap(_ address: VirtualAddress) throws {
      let page = VirtualAddressRange(address, byteCount: 4096)
      let count = try tables.unmap(page, in: .kernel, to: world.frames) { leaf in
        #expect(leaf.address == address)
        try! world.frames.free(leaf.entry.frame, order: 0)
      }
      #expect(count == 1)
    }
    try unmap(addresses[0])
    #expect(world.frames.count(.pageTable) == upper + 2 + 3, "the leaf table still maps a page")
    try unmap(addresses[1])
    #expect(world.frames.count(.pageTable) == upper + 2 + 2)
    try unmap(addresses[2])
    #expect(world.frames.count(.pageTable) == upper + 1 + 1, "with the leaf table, the one above goes")
    try unmap(addresses[3])
    #expect(world.frames.count(.pageTable) == 0)
    #expect(world.frames.freeFrames == before)
    #expect(world.rootEntries == root)
    #expect(
      try tables.unmap(VirtualAddressRange(addresses[3], byteCount: 4096), in: .kernel, to: world.frames) { _ in
      }
        == 0)
    world.expectNoViolations()
  }

  @Test(arguments: [39, 48]) func `Unmapping gives tables back that never had a live entry`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let before = world.frames.freeFrames
    let tables = try TranslationTables(userSpaceOf: world.machine, frames: world.frames)
    let space = AddressSpaceID(1)
    let address = VirtualAddress(0x40_0000)
    _ = try tables.leafEntry(at: address, frames: world.frames)
    #expect(before - world.frames.freeFrames == 1 + depth(bits))
    let range = VirtualAddressRange(address, byteCount: pageSize)
    #expect(
      try tables.unmap(range, in: space, to: world.frames) { _ in Issue.record("nothing was mapped") } == 0)
    #expect(before - world.frames.freeFrames == 1)
    #expect((0..<512).allSatisfy { world.machine.readEntry(at: tables.root + $0 * 8).isEmpty })
    tables.destroy(in: space, to: world.frames) { _ in }
    #expect(world.frames.freeFrames == before)
    world.expectNoViolations()
  }

  @Test(arguments: [39, 48]) func `A refused table leaves nothing behind`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let before = world.frames.freeFrames
    let root = world.rootEntries
    let address = world.layout.vmallocArea.lowerBound
    for granted in 0..<depth(bits) {
      world.frames.requestsUntilRefusal = granted
      let error = thrown { () throws(TranslationError) in
        try world.kernelTables.map(PageFrame(1 << 18), at: address, .kernelReadWrite, frames: world.frames)
      }
      #expect(
        error
          == .frames(
            .refused(FrameRefusal(order: 0, purpose: .pageTable, freeFrames: 7, largestFreeOrder: 0))))
      #expect(world.frames.freeFrames == before)
      #expect(world.rootEntries == root)
      world.frames.requestsUntilRefusal = granted
      #expect(throws: TranslationError.self) {
        try world.kernelTables.leafEntry(at: address, frames: world.frames)
      }
      #expect(world.frames.freeFrames == before)
    }
    #expect(world.machine.counters.tlbInvalidations == 0, "what was never linked needs no invalidation")
    world.expectNoViolations()
  }

  @Test func `What is mapped is not mapped again`() throws {
    let world = try TestWorld()
    let tables = world.kernelTables
    let address = world.layout.vmallocArea.lowerBound
    try tables.map(PageFrame(1 << 18), at: address, .kernelReadWrite, frames: world.frames)
    #expect(throws: TranslationError.occupied(address)) {
      try tables.map(PageFrame(1 << 18), at: address, .kernelReadWrite, frames: world.frames)
    }
    let range = VirtualAddressRange(VirtualAddress(address.rawValue & ~(1 << 21 - 1)), byteCount: 2 << 20)
    #expect(throws: TranslationError.occupied(range.lowerBound)) {
      try tables.mapBlocks(range, to: PhysicalAddress(1 << 30), .kernelReadOnly, frames: world.frames)
    }
    let location = try #require(tables.existingLeafEntry(at: address))
    world.machine.writeEntry(world.machine.readEntry(at: location).retired, at: location)
    #expect(throws: TranslationError.occupied(address), "nor before its invalidation") {
      try tables.map(PageFrame(1 << 18), at: address, .kernelReadWrite, frames: world.frames)
    }
  }

  @Test func `What is not made of pages or leaves the space is refused`() throws {
    let world = try TestWorld()
    let tables = world.kernelTables
    let before = world.frames.freeFrames
    let base = world.layout.vmallocArea.lowerBound
    func error(_ range: VirtualAddressRange, _ physical: UInt = 0) -> TranslationError? {
      thrown { () throws(TranslationError) in
        try tables.mapBlocks(range, to: PhysicalAddress(physical), .kernelReadWrite, frames: world.frames)
      }
    }
    #expect(error(VirtualAddressRange(base + 8, byteCount: 4096)) == .misaligned(base + 8))
    #expect(error(VirtualAddressRange(base, byteCount: 100)) == .misaligned(base))
    #expect(error(VirtualAddressRange(base, byteCount: 0)) == .misaligned(base))
    #expect(error(VirtualAddressRange(base, byteCount: 4096), 12) == .misalignedMemory(PhysicalAddress(12)))
    let between = VirtualAddress(1 << 39)
    #expect(error(VirtualAddressRange(between - 4096, byteCount: 8192)) == .outsideSpace(between - 4096))
    #expect(error(VirtualAddressRange(between, byteCount: 4096)) == .outsideSpace(between))
    #expect(world.frames.freeFrames == before)
  }

  @Test func `What is not made of pages or leaves the space is not unmapped`() throws {
    let world = try TestWorld()
    let tables = world.kernelTables
    let base = world.layout.vmallocArea.lowerBound
    let frame = try world.frames.allocate(FrameRequest(purpose: .other))
    try tables.map(frame, at: base, .kernelReadWrite, frames: world.frames)
    let between = VirtualAddress(1 << 39)
    let refused: [(VirtualAddressRange, TranslationError)] = [
      (VirtualAddressRange(base + 8, byteCount: 4096), .misaligned(base + 8)),
      (VirtualAddressRange(base, byteCount: 100), .misaligned(base)),
      (VirtualAddressRange(base, byteCount: 4097), .misaligned(base)),
      (VirtualAddressRange(between - 4096, byteCount: 8192), .outsideSpace(between - 4096)),
    ]
    for (range, error) in refused {
      #expect(throws: error) {
        try tables.unmap(range, in: .kernel, to: world.frames) { _ in Issue.record("a page of no range") }
      }
    }
    #expect(tables.translate(base)?.entry.frame == frame)
    #expect(world.machine.counters.tlbInvalidations == 0)
    world.expectNoViolations()
  }

  @Test(arguments: [39, 48]) func `The linear map uses the largest blocks that fit`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let tables = world.kernelTables
    let offset = world.layout.linearMapOffset
    func linear(_ physical: UInt) -> VirtualAddress { VirtualAddress(physical &+ offset) }
    // 3 pages, then 2 MiB blocks to the GiB, one GiB, one 2 MiB block, 1 page.
    let first: UInt = (1 << 30) - (4 << 20) - 3 * 4096
    let last: UInt = (2 << 30) + (2 << 20) + 4096
    try tables.mapBlocks(
      VirtualAddressRange(linear(first), linear(last)), to: PhysicalAddress(first), .kernelReadWrite,
      kind: .device, frames: world.frames)
    var leaves: [(Int, Int)] = []
    tables.visitLeaves(in: world.layout.linearMap) { leaf in
      #expect(leaf.entry.frame.physicalAddress.rawValue &+ offset == leaf.address.rawValue)
      if leaves.last?.0 == leaf.level {
        leaves[leaves.count - 1].1 += 1
      } else {
        leaves.append((leaf.level, 1))
      }
    }
    #expect(leaves.map(\.0) == [3, 2, 1, 2, 3])
    #expect(leaves.map(\.1) == [3, 2, 1, 1, 1])
    let upper = bits == 48 ? 1 : 0
    #expect(world.frames.count(.pageTable) == upper + 2 + 2, "no table too many was asked for")
    let inBlock = try #require(tables.translate(linear(1 << 30) + 0x12345))
    #expect(inBlock.physicalAddress(of: linear(1 << 30) + 0x12345) == PhysicalAddress(1 << 30) + 0x12345)
    #expect(inBlock.level == 1)
    #expect(tables.existingLeafEntry(at: linear(1 << 30)) == nil, "a block has no last-level entry")
    world.expectNoViolations()
  }

  @Test func `Parts of the linear map have permissions of their own`() throws {
    let world = try TestWorld()
    let tables = world.kernelTables
    let base = world.machine.linearMapOffset &+ (1 << 30)
    let text: UInt = 0x8_0000
    let parts: [(UInt, UInt, PagePermissions)] = [
      (0, text, .kernelReadWrite), (text, text + 0x3000, .kernelReadOnly),
      (text + 0x3000, 8 << 20, .kernelReadWrite),
    ]
    for (lower, upper, permissions) in parts {
      try tables.mapBlocks(
        VirtualAddressRange(VirtualAddress(base + lower), VirtualAddress(base + upper)),
        to: PhysicalAddress((1 << 30) + lower), permissions, frames: world.frames)
    }
    for (lower, upper, permissions) in parts {
      for offset in stride(from: lower, to: upper, by: 4096) {
        let leaf = try #require(tables.translate(VirtualAddress(base + offset)))
        #expect(leaf.entry.isWritable == (permissions == .kernelReadWrite))
        #expect(!leaf.entry.isKernelExecutable && !leaf.entry.isUserExecutable)
        #expect(leaf.physicalAddress(of: VirtualAddress(base + offset)).rawValue == (1 << 30) + offset)
      }
    }
    #expect(tables.translate(VirtualAddress(base + (4 << 20)))?.level == 2)
  }

  @Test func `A refusal in the middle of a linear map is undone`() throws {
    let world = try TestWorld()
    let before = world.frames.freeFrames
    let root = world.rootEntries
    let range = VirtualAddressRange(world.layout.linearMap.lowerBound + 4096, byteCount: 5 << 29)
    let devices = PhysicalAddress(64 << 30) + 4096
    for granted in 0..<4 {
      world.frames.requestsUntilRefusal = granted
      #expect(throws: TranslationError.self, "\(granted)") {
        try world.kernelTables.mapBlocks(
          range, to: devices, .kernelReadWrite, kind: .device, frames: world.frames)
      }
      #expect(world.frames.freeFrames == before)
      #expect(world.rootEntries == root)
    }
    world.frames.requestsUntilRefusal = nil
    try world.kernelTables.mapBlocks(range, to: devices, .kernelReadWrite, kind: .device, frames: world.frames)
    #expect(world.frames.count(.pageTable) == 4, "two of level 2, two of level 3")
    #expect(
      try world.kernelTables.unmap(range, in: .kernel, to: world.frames) { _ in } == 511 + 511 + 1 + 256 + 1)
    #expect(world.frames.freeFrames == before)
    world.expectNoViolations()
  }

  @Test func `Visiting stops at the first error and sees only the range`() throws {
    struct Stop: Error {}
    let world = try TestWorld()
    let tables = world.kernelTables
    let base = world.layout.vmallocArea.lowerBound
    let offsets = [0, 4096, (2 << 20) + 8192, 3 << 30]
    for offset in offsets {
      try tables.map(PageFrame(1 << 18), at: base + offset, .kernelReadOnly, frames: world.frames)
    }
    var seen: [Int] = []
    tables.visitLeaves(in: VirtualAddressRange(base + 4096, byteCount: 3 << 30)) {
      seen.append($0.address - base)
    }
    #expect(seen == [4096, (2 << 20) + 8192, 3 << 30])
    seen = []
    let error = thrown { () throws(Stop) in
      try tables.visitLeaves(in: world.layout.vmallocArea) { (leaf) throws(Stop) in
        seen.append(leaf.address - base)
        if seen.count == 2 { throw Stop() }
      }
    }
    #expect(error != nil)
    #expect(seen == [0, 4096])
  }

  @Test(arguments: [39, 48]) func `A user space is copied for copy-on-write, and destroyed`(bits: Int) throws {
    let world = try TestWorld(bits: bits)
    let before = world.frames.freeFrames
    let machine = world.machine
    let parent = try TranslationTables(userSpaceOf: machine, frames: world.frames)
    let child = try TranslationTables(userSpaceOf: machine, frames: world.frames)
    let user = world.layout.userSpace
    let addresses = [0x40_0000, 0x40_1000, user.byteCount - 4096].map { user.lowerBound + $0 }
    for address in addresses {
      let frame = try world.frames.allocate(FrameRequest(purpose: .userMemory, cleared: true))
      try parent.map(frame, at: address, .userReadWrite, frames: world.frames)
    }
    machine.activate(root: parent.root, space: AddressSpaceID(1))
    try machine.store(UInt64(7), to: addresses[0], privilege: .user)
    // fork: both read-only, one invalidation.
    try parent.visitLeaves(in: user) { (leaf) throws(TranslationError) in
      machine.writeEntry(leaf.entry.readOnly, at: leaf.location)
      try child.map(leaf.entry.readOnly, at: leaf.address, frames: world.frames)
    }
    machine.invalidate(.everything, in: AddressSpaceID(1), scope: .leaves)
    #expect(throws: SimulatedFault.self) {
      try machine.store(UInt64(8), to: addresses[0], privilege: .user)
    }
    machine.activate(root: child.root, space: AddressSpaceID(2))
    let seen: UInt64 = try machine.load(addresses[0], privilege: .user)
    #expect(seen == 7)
    machine.activate(root: nil, space: AddressSpaceID(2))
    var released: [PageFrame] = []
    child.destroy(in: AddressSpaceID(2), to: world.frames) { released.append($0.entry.frame) }
    #expect(released.count == 3)
    parent.destroy(in: AddressSpaceID(1), to: world.frames) { leaf in
      #expect(addresses.contains(leaf.address))
      #expect(released.contains(leaf.entry.frame))
      try! world.frames.free(leaf.entry.frame, order: 0)
    }
    #expect(world.frames.freeFrames == before)
    world.expectNoViolations()
  }
}
