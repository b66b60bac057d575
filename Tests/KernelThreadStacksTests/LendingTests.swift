// Lent pages: mapped while the thread runs, taken back untouched, kept from the lowest that was touched up.

import KernelStacks
import SimulatedMachine
import TestSupport
import Testing

@Suite struct LendingTests {
  static let seeds: ClosedRange<UInt64> = 1...40
  static let configuration = StackConfiguration(.growing, stackGroups: 1)

  func world(seed: UInt64) throws -> World { try World(seed: seed, updatesAccessFlags: true) }

  /// The offsets in a stack's pages at which a test looks.
  func addresses(_ base: VirtualAddress, _ page: Int) -> [VirtualAddress] {
    [0, 8, 2040, 4088].map { base + page * pageSize + $0 }
  }

  @Test func `While a thread runs, no page of its stack is missing, and none is counted as its own`() throws {
    for seed in Self.seeds {
      let world = try world(seed: seed)
      let stacks = try world.stacks(Self.configuration)
      let owner = Owner(try stacks.allocate(node: nil))
      #expect(stacks.prepareToRun(owner.base) == true)
      let before = world.machine.counters
      let requests = world.ledger.requests
      stacks.lender.lend(to: owner.base)
      #expect(stacks.reservedFrameCount(ofCPU: 0) == 3 && stacks.kernelStackKiB(on: NodeID(0)) == 4)
      for page in 0..<4 {
        for address in addresses(owner.base, page) { #expect(try world.machine.load(address) as UInt64 == 0) }
      }
      #expect(world.machine.counters.lockAcquisitions == before.lockAcquisitions)
      #expect(world.machine.counters.tlbInvalidations == before.tlbInvalidations)
      #expect(world.ledger.requests == requests)
      stacks._checkInvariants()
      #expect(world.simulation.violations.isEmpty)
      stacks.lender.takeBack()
      stacks.free(owner.take())
    }
  }

  @Test func `What was not touched goes back to the reserve, without a lock, an invalidation or a request`()
    throws
  {
    var idle = 0
    for seed in Self.seeds {
      let world = try world(seed: seed)
      let stacks = try world.stacks(Self.configuration)
      let owner = Owner(try stacks.allocate(node: nil))
      #expect(stacks.prepareToRun(owner.base) == true)
      let before = world.machine.counters
      for _ in 0..<3 {
        stacks.lender.lend(to: owner.base)
        stacks.lender.takeBack()
      }
      #expect(world.machine.counters.lockAcquisitions == before.lockAcquisitions)
      #expect(world.machine.counters.tlbInvalidations == before.tlbInvalidations)
      // A CPU may have touched some by speculation: these are the thread's.
      let mapped = stacks.mappedPageCount(owner.base)
      #expect(stacks.reservedFrameCount(ofCPU: 0) == 4 - mapped)
      #expect(stacks.grownPageCount == mapped - 1 && stacks.kernelStackKiB(on: NodeID(0)) == 4 * mapped)
      if mapped == 1 { idle += 1 }
      stacks._checkInvariants()
      stacks.free(owner.take())
      #expect(world.simulation.violations.isEmpty, "seed \(seed)")
    }
    #expect(idle > 5)
  }

  @Test(arguments: 0..<4)
  func `From the lowest page that was touched up, pages are the thread's, with what it stored`(page: Int) throws
  {
    for seed in Self.seeds {
      let world = try world(seed: seed)
      let stacks = try world.stacks(Self.configuration)
      let group = try stacks.makeGroup(limitFrames: 8)
      let owner = Owner(try stacks.allocate(node: nil, chargedTo: group))
      #expect(stacks.prepareToRun(owner.base) == true)
      stacks.lender.lend(to: owner.base)
      let address = owner.base + page * pageSize + 8
      try world.machine.store(UInt64(7), to: address)
      #expect(stacks.mappedPageCount(owner.base) >= 1)
      stacks.lender.takeBack()
      let mapped = stacks.mappedPageCount(owner.base)
      #expect(mapped >= 4 - page)
      #expect(stacks.highWaterByteCount(owner.base) == (4 - page) * pageSize - 8)
      #expect(try stacks.figures(of: group).chargedFrames == mapped)
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == 4 * mapped && stacks.grownPageCount == mapped - 1)
      #expect(stacks.reservedFrameCount(ofCPU: 0) == 4 - mapped)
      stacks._checkInvariants()
      // It is prepared and lent to again, and finds its word.
      #expect(stacks.prepareToRun(owner.base) && stacks.reservedFrameCount(ofCPU: 0) == 3)
      stacks.lender.lend(to: owner.base)
      #expect(try world.machine.load(address) as UInt64 == 7)
      stacks.lender.takeBack()
      stacks.free(owner.take())
      #expect(try stacks.figures(of: group).chargedFrames == 0)
      stacks._checkInvariants()
      #expect(world.simulation.violations.isEmpty, "seed \(seed)")
    }
  }

  @Test func `The frames of one thread's untouched pages are the next one's, at other addresses`() throws {
    for seed in Self.seeds {
      let world = try world(seed: seed)
      let stacks = try world.stacks(Self.configuration)
      let owners = try (0..<4).map { _ in Owner(try stacks.allocate(node: nil)) }
      for turn in 0..<24 {
        let owner = owners[turn % 4]
        #expect(stacks.prepareToRun(owner.base) == true)
        stacks.lender.lend(to: owner.base)
        // Deeper from time to time, and back.
        let depth = [64, 64, 5000, 64, 64, 9000][turn % 6]
        let address = owner.base + (4 * pageSize - depth)
        if turn < 4 { #expect(try world.machine.load(address) as UInt64 == 0) }
        try world.machine.store(UInt64(turn), to: address)
        stacks.lender.takeBack()
        stacks._checkInvariants()
      }
      for owner in owners { stacks.free(owner.take()) }
      #expect(world.simulation.violations.isEmpty, "seed \(seed)")
    }
  }

  @Test func `Pages that CPUs have touched by speculation go back when memory is short, by one invalidation`()
    throws
  {
    var returned = 0
    for seed in Self.seeds {
      let world = try world(seed: seed)
      let stacks = try world.stacks(Self.configuration)
      let owners = try (0..<4).map { _ in Owner(try stacks.allocate(node: nil)) }
      for owner in owners {
        #expect(stacks.prepareToRun(owner.base) == true)
        stacks.lender.lend(to: owner.base)
        stacks.lender.takeBack()
      }
      let kept = owners.reduce(0) { $0 + stacks.mappedPageCount($1.base) - 1 }
      #expect(world.simulation.untouchedPagesKept == kept)
      let before = world.machine.counters.tlbInvalidations
      var batch = ShrinkBatch()
      var retired = 0
      for owner in owners {
        // It sleeps in its top page.
        let stackPointer = owner.base + (4 * pageSize - 64)
        retired += stacks.retireDeadPages(of: owner.base, below: stackPointer, into: &batch)
      }
      stacks.completeInvalidation(of: &batch)
      for owner in owners { returned += stacks.releaseRetiredPages(of: owner.base) }
      #expect(retired == kept)
      #expect(world.machine.counters.tlbInvalidations - before == (kept > 0 ? 1 : 0))
      for owner in owners {
        #expect(stacks.mappedPageCount(owner.base) == 1)
        // The same addresses are lent again.
        #expect(stacks.prepareToRun(owner.base) == true)
        stacks.lender.lend(to: owner.base)
        #expect(try world.machine.load(owner.base + 8) as UInt64 == 0)
        stacks.lender.takeBack()
        stacks._checkInvariants()
        stacks.free(owner.take())
      }
      #expect(world.simulation.violations.isEmpty, "seed \(seed)")
    }
    #expect(returned > 20)
  }

  @Test(arguments: [8192, 12288, 16384, 20480, 32768])
  func `A stack of any size keeps what its thread has touched, whatever it lacks`(size: Int) throws {
    let pages = size / pageSize
    for seed in Self.seeds {
      let world = try world(seed: seed)
      let stacks = try world.stacks(StackConfiguration(.growing, size: size))
      let owner = Owner(try stacks.allocate(node: nil))
      // Deeper by a page each time, and each time two switches.
      for depth in 0..<pages {
        for _ in 0..<2 {
          #expect(stacks.prepareToRun(owner.base) == true)
          stacks.lender.lend(to: owner.base)
          try world.machine.store(UInt64(depth), to: owner.base + ((pages - depth) * pageSize - 8))
          stacks.lender.takeBack()
          #expect(stacks.mappedPageCount(owner.base) > depth)
          for page in 0...depth {
            let word = try world.machine.load(owner.base + ((pages - page) * pageSize - 8)) as UInt64
            #expect(word == UInt64(page))
          }
          stacks._checkInvariants()
        }
      }
      #expect(stacks.mappedPageCount(owner.base) == pages)
      stacks.free(owner.take())
      #expect(world.simulation.violations.isEmpty, "seed \(seed)")
    }
  }

  @Test func `A stack that has all its pages, or is another's, is left as it is`() throws {
    let world = try world(seed: 1)
    let stacks = try world.stacks(Self.configuration)
    let owner = Owner(try stacks.allocate(node: nil))
    #expect(stacks.prepareToRun(owner.base) == true)
    #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
    for base in [owner.base, VirtualAddress(0), VirtualAddress(0xffff_ff80_0000_0000)] {
      stacks.lender.lend(to: base)
      stacks.lender.takeBack()
    }
    #expect(stacks.mappedPageCount(owner.base) == 4 && stacks.reservedFrameCount(ofCPU: 0) == 0)
    stacks.free(owner.take())
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A thread that was not prepared, or a second one before the first is done, is a trap`() async {
    await #expect(processExitsWith: .failure) {
      let stacks = try World(updatesAccessFlags: true).stacks(StackConfiguration(.growing))
      let stack = try stacks.allocate(node: nil)
      _ = stacks.releaseReserve()
      stacks.lender.lend(to: stack.base)
    }
    await #expect(processExitsWith: .failure) {
      let stacks = try World(updatesAccessFlags: true).stacks(StackConfiguration(.growing))
      let (first, second) = (Owner(try stacks.allocate(node: nil)), Owner(try stacks.allocate(node: nil)))
      _ = stacks.prepareToRun(first.base)
      stacks.lender.lend(to: first.base)
      stacks.lender.lend(to: second.base)
    }
    await #expect(processExitsWith: .failure) {
      let stacks = try World(updatesAccessFlags: true).stacks(StackConfiguration(.growing))
      let stack = try stacks.allocate(node: nil)
      _ = stacks.prepareToRun(stack.base)
      stacks.lender.lend(to: stack.base)
      _ = stacks.releaseReserve()
    }
  }

  @Test func `A machine that looks and then stores is found out`() throws {
    var found = 0
    for seed in Self.seeds {
      let world = try world(seed: seed)
      let machine = LooksAndStores(base: world.machine)
      let stacks = try ThreadStackAllocator(
        Self.configuration, machine: machine, frames: TestFrames(ledger: world.ledger),
        arena: VmallocArea(World.vmallocArea, machine: machine))
      let owners = try (0..<2).map { _ in Owner(try stacks.allocate(node: nil)) }
      for turn in 0..<4 {
        let owner = owners[turn % 2]
        #expect(stacks.prepareToRun(owner.base) == true)
        stacks.lender.lend(to: owner.base)
        stacks.lender.takeBack()
      }
      if world.simulation.violations.contains(where: { $0.rule == .frameReused || $0.rule == .addressReused }) {
        found += 1
      }
      for owner in owners { stacks.free(owner.take()) }
    }
    #expect(found > 30)
  }
}

/// A machine whose compare-and-swap is none.
private struct LooksAndStores: ForwardingMachine, AccessFlagMachine {
  let base: Simulated
  var updatesAccessFlags: Bool { true }

  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    base.invalidate(pages, in: space, scope: scope)
  }
  func replaceEntry(_ expected: PageTableEntry, with entry: PageTableEntry, at address: PhysicalAddress) -> Bool
  {
    guard base.readEntry(at: address) == expected else { return false }
    base.writeEntry(entry, at: address)
    return true
  }
}
