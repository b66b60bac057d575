// Growing stacks: one page at first, more from the reserve, and no other fault is growth.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct GrowthTests {
  static let configuration = StackConfiguration(.growing)

  @Test func `A new stack has one page at its top, zeroed, and counts as one page`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let held = world.ledger.frames(for: .threadStack)
    let owner = Owner(try stacks.allocate(node: nil))
    #expect(world.ledger.frames(for: .threadStack) == held + 1)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 4 && stacks.liveStackCount == 1)
    #expect(stacks.mappedPageCount(owner.base) == 1 && stacks.missingPageCount(owner.base) == 3)
    #expect(stacks.page(of: owner.base) == nil && stacks.page(of: owner.base + 12288) != nil)
    #expect(try world.machine.firstNonzero(owner.base + 12288, size: 4096) == nil)
    #expect(throws: SimulatedFault.self) { try world.machine.store(UInt64(1), to: owner.base + 12280) }
    #expect(stacks.classify(address: owner.base) == .stack(stacks.geometry.bounds(base: owner.base)))
    stacks._checkInvariants()
    stacks.free(owner.take())
    #expect(stacks.liveStackCount == 0 && stacks.kernelStackKiB(on: NodeID(0)) == 0)
    stacks._checkInvariants()
  }

  @Test
  func `A stack of one page has all that it can grow to: it is cached, cleared and given back like any other`()
    throws
  {
    let world = try World()
    let stacks = try world.stacks(
      StackConfiguration(.growing, size: 4096, cachedStacksPerCPU: 2, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 20)
    let held = world.ledger.frames(for: .threadStack)
    let owners = try (0..<20).map { _ in Owner(try stacks.allocate(node: nil, chargedTo: group)) }
    let base = owners[19].base
    #expect(stacks.mappedPageCount(base) == 1 && stacks.missingPageCount(base) == 0)
    #expect(stacks.prepareToRun(base) == true)
    #expect(stacks.grower.grow(at: base - 8, runningOn: base) == .notGrowth)
    try world.machine.dirty(base, size: 4096, step: 64)
    #expect(stacks.highWaterByteCount(base) == 4096)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 80 && world.ledger.frames(for: .threadStack) == held + 20)
    #expect(try stacks.figures(of: group).chargedFrames == 20)
    stacks._checkInvariants()
    for owner in owners.reversed() { stacks.free(owner.take()) }
    #expect(try stacks.figures(of: group).chargedFrames == 0)
    stacks._checkInvariants()
    for _ in 0..<8 {
      let again = try stacks.allocate(node: nil)
      #expect(try world.machine.firstNonzero(again.base, size: 4096) == nil)
      stacks.free(again)
    }
    stacks.reclaim(target: .max)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0 && world.ledger.frames(for: .threadStack) == held)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `A fault maps all pages between it and the lowest mapped one: no lock, no request, no invalidation`()
    throws
  {
    for page in 0..<3 {
      let world = try World()
      let stacks = try world.stacks(Self.configuration)
      let owner = Owner(try stacks.allocate(node: nil))
      #expect(stacks.prepareToRun(owner.base) == true)
      let before = world.machine.counters
      let requests = world.ledger.requests
      let address = owner.base + (page * 4096 + 8)
      #expect(stacks.grower.grow(at: address, runningOn: owner.base) == .grown)
      let after = world.machine.counters
      #expect(after.lockAcquisitions == before.lockAcquisitions)
      #expect(after.tlbInvalidations == before.tlbInvalidations && world.ledger.requests == requests)
      #expect(stacks.mappedPageCount(owner.base) == 4 - page)
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == (4 - page) * 4)
      #expect(stacks.grownPageCount == 3 - page)
      let lowest = owner.base + page * 4096
      #expect(try world.machine.firstNonzero(lowest, size: (4 - page) * 4096) == nil)
      try world.machine.store(UInt64(7), to: address)
      #expect(stacks.highWaterByteCount(owner.base) == 16384 - page * 4096 - 8)
      stacks._checkInvariants()
      stacks.free(owner.take())
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0)
      stacks._checkInvariants()
      #expect(world.simulation.violations.isEmpty)
    }
  }

  @Test
  func `After a fault on a page that is mapped by now, the access is repeated and nothing is taken`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let owner = Owner(try stacks.allocate(node: nil))
    #expect(stacks.prepareToRun(owner.base) == true)
    #expect(stacks.grower.grow(at: owner.base + 4096, runningOn: owner.base) == .grown)
    try world.machine.store(UInt64(7), to: owner.base + 4096)
    let reserved = stacks.reservedFrameCount
    for offset in [4096, 8184, 8192, 12288, 16376] {
      #expect(stacks.grower.grow(at: owner.base + offset, runningOn: owner.base) == .grown, "\(offset)")
    }
    #expect(stacks.reservedFrameCount == reserved && stacks.mappedPageCount(owner.base) == 3)
    #expect(stacks.grownPageCount == 2)
    #expect(try world.machine.load(owner.base + 4096) as UInt64 == 7)
    // An entry that is neither empty nor valid belongs to a shrinker: no running thread's stack has one.
    let location = try #require(
      TranslationTables(kernelOf: world.machine).existingLeafEntry(at: owner.base + 4096))
    let entry = world.machine.readEntry(at: location)
    world.machine.writeEntry(entry.retired, at: location)
    #expect(stacks.grower.grow(at: owner.base + 4096, runningOn: owner.base) == .notGrowth)
    world.machine.writeEntry(entry, at: location)
    world.machine.publishEntries()
    stacks._checkInvariants()
    stacks.free(owner.take())
  }

  @Test func `A fault outside the running thread's own stack is never growth`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let owner = Owner(try stacks.allocate(node: nil))
    let other = Owner(try stacks.allocate(node: nil))
    #expect(stacks.prepareToRun(owner.base) == true)
    let addresses = [
      owner.base - 8, owner.base - 16384, owner.base + 16384, other.base,
      other.base + 12280,
      VirtualAddress(0), VirtualAddress(.max), VirtualAddress(0xffff_ffc0_0000_0000),
    ]
    let reserved = stacks.reservedFrameCount
    for address in addresses {
      #expect(stacks.grower.grow(at: address, runningOn: owner.base) == .notGrowth)
    }
    // A stack that is not the allocator's does not grow.
    for base in [VirtualAddress(0xffff_ff80_0010_0000), VirtualAddress(0), other.base + (1 << 38)] {
      #expect(stacks.grower.grow(at: base + 8, runningOn: base) == .notGrowth)
      #expect(stacks.missingPageCount(base) == 0 && stacks.mappedPageCount(base) == 0)
    }
    #expect(stacks.reservedFrameCount == reserved)
    stacks._checkInvariants()
    let vmalloc = try World().stacks(StackConfiguration(.vmalloc))
    let whole = Owner(try vmalloc.allocate(node: nil))
    #expect(vmalloc.grower.grow(at: whole.base, runningOn: whole.base) == .notGrowth)
    #expect(vmalloc.prepareToRun(whole.base) == true)
    #expect(vmalloc.mappedPageCount(whole.base) == 4)
    vmalloc.free(whole.take())
    for owner in [owner, other] { stacks.free(owner.take()) }
  }

  @Test func `A thread switched in without preparation finds out, and nothing is mapped`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let owner = Owner(try stacks.allocate(node: nil))
    #expect(stacks.releaseReserve() == 3)
    #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .reserveTooSmall)
    #expect(stacks.mappedPageCount(owner.base) == 1)
    stacks._checkInvariants()
    #expect(stacks.prepareToRun(owner.base) == true)
    #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
    stacks.free(owner.take())
  }

  @Test func `A cached stack has one page; one that has grown is unmapped and comes back zeroed`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let shallow = Owner(try stacks.allocate(node: nil))
    try world.machine.dirty(shallow.base + 12288, size: 4096, step: 64)
    stacks.free(shallow.take())
    #expect(stacks.cachedStackCount == 1)
    stacks._checkInvariants()
    let requests = world.ledger.requests
    let again = Owner(try stacks.allocate(node: nil))
    #expect(again.base == shallow.base && world.ledger.requests == requests)
    #expect(try world.machine.firstNonzero(again.base + 12288, size: 4096) == nil)
    #expect(stacks.prepareToRun(again.base) == true)
    #expect(stacks.grower.grow(at: again.base, runningOn: again.base) == .grown)
    try world.machine.dirty(again.base, size: 16384, step: 64)
    stacks.free(again.take())
    #expect(stacks.cachedStackCount == 0 && stacks.retiredStackCount == 1)
    stacks._checkInvariants()
    stacks.reclaim(target: .max)
    let third = Owner(try stacks.allocate(node: nil))
    #expect(stacks.mappedPageCount(third.base) == 1)
    #expect(stacks.prepareToRun(third.base) == true)
    #expect(stacks.grower.grow(at: third.base, runningOn: third.base) == .grown)
    #expect(try world.machine.firstNonzero(third.base, size: 16384) == nil)
    stacks.free(third.take())
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A detached stack comes back by its address, grown or not`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    for grows in [false, true] {
      let address = try stacks.allocate(node: nil).detach()
      #expect(stacks.prepareToRun(address) == true)
      if grows { #expect(stacks.grower.grow(at: address, runningOn: address) == .grown) }
      stacks.free(try stacks.stack(at: address))
      stacks._checkInvariants()
      #expect(throws: ThreadStackError.notLive(address)) { _ = try stacks.stack(at: address).detach() }
    }
  }

  @Test func `Growing at once takes no fault afterwards; more than the stack has is an error`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let owner = Owner(try stacks.allocate(node: nil))
    #expect(stacks.prepareToRun(owner.base) == true)
    let pointer = owner.base + 16000
    for bytes in [16001, -1, .max] {
      #expect(throws: ThreadStackError.beyondStack(requestedBytes: bytes, availableBytes: 16000)) {
        try stacks.grower.ensure(bytes: bytes, below: pointer, runningOn: owner.base)
      }
    }
    #expect(throws: ThreadStackError.foreignAddress(owner.base - 16)) {
      try stacks.grower.ensure(bytes: 8, below: owner.base - 16, runningOn: owner.base)
    }
    #expect(stacks.mappedPageCount(owner.base) == 1)
    try stacks.grower.ensure(bytes: 0, below: pointer, runningOn: owner.base)
    try stacks.grower.ensure(bytes: 100, below: pointer, runningOn: owner.base)
    #expect(stacks.mappedPageCount(owner.base) == 1)
    try stacks.grower.ensure(bytes: 4000, below: pointer, runningOn: owner.base)
    #expect(stacks.mappedPageCount(owner.base) == 2)
    try stacks.grower.ensure(bytes: 16000, below: pointer, runningOn: owner.base)
    #expect(stacks.mappedPageCount(owner.base) == 4)
    stacks._checkInvariants()
    stacks.free(owner.take())
  }

  @Test
  func `A stack that is not running is mapped as far as asked; a refusal keeps what is mapped counted`() throws
  {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let stack = try stacks.allocate(node: nil)
    try stacks.populate(stack, bytes: 4097)
    #expect(stacks.mappedPageCount(stack.base) == 2)
    #expect(throws: ThreadStackError.beyondStack(requestedBytes: 16385, availableBytes: 16384)) {
      try stacks.populate(stack, bytes: 16385)
    }
    world.ledger.refuseRequest = 2
    #expect(throws: ThreadStackError.self) { try stacks.populate(stack, bytes: 16384) }
    stacks._checkInvariants()
    try stacks.populate(stack, bytes: 16384)
    #expect(stacks.mappedPageCount(stack.base) == 4 && stacks.kernelStackKiB(on: NodeID(0)) == 16)
    stacks._checkInvariants()
    stacks.free(stack)
    stacks._checkInvariants()
  }

  @Test func `Growing stacks of any size, on two nodes, are counted where their frames are`() throws {
    for size in [4096, 8192, 20480, 24576, 65536] {
      let world = try World(nodeBytes: [2 << 20, 2 << 20])
      let stacks = try world.stacks(StackConfiguration(.growing, size: size))
      let owner = Owner(try stacks.allocate(node: NodeID(1)))
      #expect(stacks.kernelStackKiB(on: NodeID(1)) == 4 && stacks.kernelStackKiB(on: NodeID(0)) == 0)
      #expect(stacks.prepareToRun(owner.base) == true)
      if size > 4096 { #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown) }
      let sum = stacks.kernelStackKiB(on: NodeID(0)) + stacks.kernelStackKiB(on: NodeID(1))
      #expect(sum == size / 1024)
      stacks._checkInvariants()
      stacks.free(owner.take())
      let rest = stacks.kernelStackKiB(on: NodeID(0)) + stacks.kernelStackKiB(on: NodeID(1))
      #expect(rest == 0)
      stacks._checkInvariants()
    }
  }

  @Test
  func `A request beyond the reserve is not ensured: an error, nothing is mapped, and no floor is set`() throws
  {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(Self.configuration)
    let owner = Owner(try stacks.allocate(node: nil))
    let top = owner.base + stacks.geometry.size
    var thread = ScheduledThread(id: 1, stackBase: owner.base, stackPointer: top)
    for pages in 1...3 {
      stacks.fillReserve()
      if pages > 1 {
        #expect(stacks.grower.grow(at: top + -4096 * pages, runningOn: owner.base) == .grown)
      }
      _ = stacks.releaseReserve()
      #expect(throws: ThreadStackError.reserveTooSmall(requestedBytes: 16000, reservedFrames: 0)) {
        try stacks.grower.ensure(bytes: 16000, below: top, runningOn: owner.base)
      }
      #expect(throws: ThreadStackError.reserveTooSmall(requestedBytes: 16000, reservedFrames: 0)) {
        _ = try thread.ensure(bytes: 16000, below: top, grower: stacks.grower)
      }
      #expect(thread.floor == ScheduledThread.noFloor && stacks.mappedPageCount(owner.base) == pages)
      // Mapped pages need no reserve.
      #expect(throws: Never.self) { try stacks.grower.ensure(bytes: 4096, below: top, runningOn: owner.base) }
    }
    stacks.fillReserve()
    #expect(throws: Never.self) { try stacks.grower.ensure(bytes: 16000, below: top, runningOn: owner.base) }
    #expect(stacks.mappedPageCount(owner.base) == 4)
    #expect(
      ThreadStackError.reserveTooSmall(requestedBytes: 8000, reservedFrames: 1).description
        == "8000 bytes of stack are not mapped, and the CPU's reserve has 1 frame")
    stacks.free(owner.take())
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `What contradicts growth is a configuration error`() throws {
    let world = try World()
    let held = world.ledger.heldFrames
    #expect(throws: ThreadStackError.configuration(.threadInfoAtUnmappedBase)) {
      _ = try world.stacks(StackConfiguration(.growing, threadInfoPlacement: .base))
    }
    #expect(world.ledger.heldFrames == held)
    #expect(StackConfiguration(.growing).threadInfoPlacement == .top)
    #expect(StackConfiguration(.vmalloc).threadInfoPlacement == .base)
  }

  @Test func `An allocator that ends gives its reserves back`() throws {
    let world = try World(cpuCount: 2)
    do {
      let stacks = try world.stacks(Self.configuration)
      #expect(stacks.reservedFrameCount == 12)
      stacks.free(try stacks.allocate(node: nil))
    }
    #expect(world.ledger.frames(for: .threadStack) == 0 && world.ledger.frames(for: .pageTable) == 0)
  }
}
