// The depot that CPUs share: the bursts that it absorbs, its bound that follows demand, the cost of exchanges.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct DepotTests {
  /// Allocates stacks and frees them all.
  static func burst(_ count: Int, _ stacks: borrowing TestStacks) throws {
    let owners = try (0..<count).map { _ in Owner(try stacks.allocate(node: nil)) }
    for owner in owners { stacks.free(owner.take()) }
  }

  @Test(arguments: [StackStrategy.linear, .vmalloc, .growing])
  func `A burst that was seen once is served without new frames or an invalidation, half a magazine per lock`(
    _ strategy: StackStrategy
  ) throws {
    let world = try World(memoryBytes: 16 << 20)
    let stacks = try world.stacks(StackConfiguration(strategy))
    try Self.burst(100, stacks)
    // The first half magazine that leaves is kept, although it exceeds the demand seen by then.
    #expect(stacks.cachedStackCount == 100 && stacks.overflowCount == 0)
    stacks._checkInvariants()
    let before = world.machine.counters
    let cold = stacks.coldAllocationCount
    let requests = world.ledger.requests
    for _ in 0..<5 { try Self.burst(100, stacks) }
    let after = world.machine.counters
    #expect(stacks.coldAllocationCount == cold && world.ledger.requests == requests)
    #expect(after.tlbInvalidations == before.tlbInvalidations)
    #expect(after.lockAcquisitions - before.lockAcquisitions <= 5 * 2 * 100 / 4)
    stacks._checkInvariants()
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0 && stacks.liveStackCount == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `The bound follows a burst, then decays by a quarter each period; a few stacks go back at a time`()
    throws
  {
    let world = try World(memoryBytes: 16 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    let held = world.ledger.heldFrames
    #expect(stacks.depotStackLimit == 0)
    try Self.burst(200, stacks)
    #expect(stacks.depotStackLimit == 200 && stacks.depotStackCount == 192)
    // The demand of one period counts in full in the next.
    #expect(stacks.age() == 0)
    #expect(stacks.depotStackLimit == 200 && stacks.depotStackCount == 192)
    var expected = 200
    var periods = 0
    while expected > 0 || stacks.depotStackCount > 0 {
      expected -= (expected + 3) / 4
      let before = stacks.depotStackCount
      let invalidations = world.machine.counters.tlbInvalidations
      let given = stacks.age()
      let unmapped = before - stacks.depotStackCount
      #expect(stacks.depotStackLimit == expected && unmapped <= 16 && given == unmapped * 4)
      #expect(stacks.depotStackCount == max(min(before, expected), before - 16))
      #expect(world.machine.counters.tlbInvalidations - invalidations == (unmapped > 0 ? 1 : 0))
      stacks._checkInvariants()
      periods += 1
      guard periods < 100 else { break }
    }
    #expect(periods < 25 && stacks.retiredStackCount == 0 && stacks.cachedStackCount == 8)
    // Magazines are the CPU's.
    stacks.reclaim(target: .max)
    #expect(world.ledger.heldFrames - held <= 1 && world.ledger.frames(for: .threadStack) == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: [StackStrategy.linear, .vmalloc, .growing])
  func `Requests that are refused are no demand for freed stacks`(_ strategy: StackStrategy) throws {
    let world = try World(memoryBytes: 16 << 20)
    let stacks = try world.stacks(StackConfiguration(strategy))
    var refusals = 0
    for _ in 0..<30 {
      world.ledger.refuseRequest = 1
      world.ledger.refusesAllFrom = true
      do { _ = try stacks.allocate(node: nil) } catch { refusals += 1 }
    }
    // One at a time was wanted.
    #expect(refusals == 30 && stacks.depotStackLimit <= 1)
    stacks._checkInvariants()
  }

  @Test func `Smaller bursts keep what they need, and no more`() throws {
    let world = try World(memoryBytes: 16 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    try Self.burst(200, stacks)
    let cold = stacks.coldAllocationCount
    for _ in 0..<30 {
      try Self.burst(60, stacks)
      stacks.age()
    }
    #expect(stacks.coldAllocationCount == cold)
    #expect(stacks.cachedStackCount <= 60 + 8 && stacks.cachedStackCount >= 60)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `That threads end, without new ones, is no reason to keep their stacks`() throws {
    let world = try World(memoryBytes: 16 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    let owners = try (0..<150).map { _ in Owner(try stacks.allocate(node: nil)) }
    for _ in 0..<40 { stacks.age() }
    #expect(stacks.depotStackLimit == 0)
    for owner in owners { stacks.free(owner.take()) }
    #expect(stacks.depotStackCount == 0 && stacks.cachedStackCount == 8 && stacks.overflowCount == 142)
    // New stacks in the same period are demand.
    try Self.burst(100, stacks)
    #expect(stacks.depotStackLimit >= 92 && stacks.overflowCount == 142)
    stacks._checkInvariants()
  }

  @Test(arguments: [0, 1, 7, 32]) func `The hard cap holds, and none means none`(cap: Int) throws {
    let world = try World(memoryBytes: 16 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, depotStacks: cap))
    for _ in 0..<3 {
      try Self.burst(100, stacks)
      #expect(stacks.depotStackCount <= cap && stacks.depotStackLimit <= cap)
      stacks._checkInvariants()
    }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `One CPU allocates, another frees: no new frames, no invalidation, two locks for each half magazine`()
    throws
  {
    let world = try World(memoryBytes: 4 << 20, cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    func pass(_ count: Int) throws {
      for _ in 0..<count {
        let owners = try (0..<4).map { _ in Owner(try stacks.allocate(node: nil)) }
        world.simulation.onCPU(1) { _ in for owner in owners { stacks.free(owner.take()) } }
      }
    }
    try pass(50)
    let before = world.machine.counters
    let cold = stacks.coldAllocationCount
    try pass(100)
    let after = world.machine.counters
    #expect(stacks.coldAllocationCount == cold)
    #expect(after.tlbInvalidations == before.tlbInvalidations)
    #expect(after.lockAcquisitions - before.lockAcquisitions <= 200)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `Without a depot, at most one invalidation serves 64 frees in churn, and no free gives back much`()
    throws
  {
    let world = try World(memoryBytes: 16 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, depotStacks: 0))
    let before = world.machine.counters.tlbInvalidations
    var frees = 0
    var most = 0
    for _ in 0..<20 {
      let owners = try (0..<100).map { _ in Owner(try stacks.allocate(node: nil)) }
      for owner in owners {
        let held = world.ledger.heldFrames
        stacks.free(owner.take())
        most = max(most, held - world.ledger.heldFrames)
        frees += 1
      }
      stacks._checkInvariants()
    }
    #expect(world.machine.counters.tlbInvalidations - before <= UInt64(frees / 64))
    #expect(most == 8)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A freed stack goes to its own node's depot and serves that node`() throws {
    let world = try World(nodeBytes: [4 << 20, 4 << 20])
    for strategy in [StackStrategy.linear, .vmalloc, .growing] {
      let stacks = try world.stacks(StackConfiguration(strategy))
      var owners: [Owner] = []
      for index in 0..<60 {
        owners.append(Owner(try stacks.allocate(node: NodeID(index % 2))))
      }
      let perNode = strategy == .growing ? 120 : 480
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == perNode)
      #expect(stacks.kernelStackKiB(on: NodeID(1)) == perNode)
      for owner in owners { stacks.free(owner.take()) }
      stacks._checkInvariants()
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0 && stacks.kernelStackKiB(on: NodeID(1)) == 0)
      let cold = stacks.coldAllocationCount
      // All are of node 1, in any order of freeing and on any CPU.
      owners = try world.simulation.onCPU(1) { (_) throws(ThreadStackError) in
        var owners: [Owner] = []
        for _ in 0..<20 { owners.append(Owner(try stacks.allocate(node: nil))) }
        return owners
      }
      #expect(
        stacks.kernelStackKiB(on: NodeID(0)) == 0 && stacks.kernelStackKiB(on: NodeID(1)) == perNode * 2 / 3)
      #expect(stacks.coldAllocationCount == cold)
      for owner in owners { stacks.free(owner.take()) }
      stacks._checkInvariants()
    }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A stack that was freed twice is found in the depot too`() throws {
    for strategy in [StackStrategy.linear, .vmalloc] {
      let world = try World(memoryBytes: 4 << 20)
      let stacks = try world.stacks(StackConfiguration(strategy))
      let addresses = try (0..<40).map { _ in try stacks.allocate(node: nil).detach() }
      for address in addresses { stacks.free(try stacks.stack(at: address)) }
      for address in addresses {
        #expect(throws: ThreadStackError.notLive(address)) { _ = try stacks.stack(at: address).detach() }
      }
      #expect(stacks.depotStackCount == 32)
      let all = addresses.map { stacks.quarantine(at: $0) }
      #expect(all.allSatisfy { $0 })
      #expect(stacks.cachedStackCount == 0 && stacks.depotStackCount == 0 && stacks.lostStackCount == 40)
      stacks._checkInvariants()
    }
  }
}
