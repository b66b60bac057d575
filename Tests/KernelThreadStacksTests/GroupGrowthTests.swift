// Groups with limits where stacks grow: growth is charged but never refused, and shrinking reduces the charge.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct GroupGrowthTests {
  static func refusal(_ body: () throws -> Void) -> StackGroupRefusal? { GroupTests.refusal(body) }

  static func charged(_ group: StackGroupID, _ stacks: borrowing TestStacks) -> Int {
    GroupTests.charged(group, stacks)
  }

  @Test
  func `Growth is charged beyond the limit, and nothing new before there is room again; shrinking gives back`()
    throws
  {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.growing, stackGroups: 2))
    let group = try stacks.makeGroup(limitFrames: 3)
    let first = try stacks.allocate(node: nil, chargedTo: group)
    let second = try stacks.allocate(node: nil, chargedTo: group)
    #expect(stacks.prepareToRun(first.base) == true)
    #expect(stacks.grower.grow(at: first.base, runningOn: first.base) == .grown)
    #expect(Self.charged(group, stacks) == 5)
    stacks._checkInvariants()
    #expect(
      Self.refusal { stacks.free(try stacks.allocate(node: nil, chargedTo: group)) }
        == StackGroupRefusal(group: group, requestedFrames: 1, chargedFrames: 5, limitFrames: 3))
    #expect(Self.refusal { try stacks.populate(second, bytes: 8192) }?.chargedFrames == 5)
    var batch = ShrinkBatch()
    stacks.retireDeadPages(of: first.base, below: first.top - 64, into: &batch)
    // Until they are given back, the frames are charged to the group.
    #expect(Self.charged(group, stacks) == 5)
    stacks.completeInvalidation(of: &batch)
    stacks.releaseRetiredPages(of: first.base)
    #expect(Self.charged(group, stacks) == 2)
    try stacks.populate(second, bytes: 8192)
    #expect(Self.charged(group, stacks) == 3)
    stacks._checkInvariants()
    stacks.retireDeadPages(of: second.base, below: second.top - 64, into: &batch)
    stacks.free(first)
    // A thread may end while its pages are retired.
    stacks.free(second)
    #expect(Self.charged(group, stacks) == 0)
    try stacks.removeGroup(group)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `What grows on one CPU and is freed on another does not add up to a way around the limit`() throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.growing, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 40)
    for _ in 0..<200 {
      let stack = try stacks.allocate(node: nil, chargedTo: group)
      let base = stack.base
      world.simulation.onCPU(1) { _ in
        #expect(stacks.prepareToRun(base) == true)
        #expect(stacks.grower.grow(at: base, runningOn: base) == .grown)
      }
      stacks.free(stack)
      #expect(Self.charged(group, stacks) == 0)
    }
    var owners: [Owner] = []
    do {
      while owners.count < 500 { owners.append(Owner(try stacks.allocate(node: nil, chargedTo: group))) }
    } catch {}
    #expect(owners.count >= 40 && owners.count <= 40 + 64)
    #expect(
      try stacks.figures(of: group)
        == StackGroupFigures(chargedFrames: owners.count, limitFrames: 40, refusals: 1))
    for owner in owners { stacks.free(owner.take()) }
    #expect(Self.charged(group, stacks) == 0)
    stacks._checkInvariants()
    try stacks.removeGroup(group)
  }

  @Test
  func `What has grown on other CPUs is counted before a CPU is given anything in advance, or keeps it`() throws
  {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.growing, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 100)
    func growOnOtherCPU(_ owners: some Sequence<Owner>, _ stacks: borrowing TestStacks) {
      for owner in owners {
        let base = owner.base
        world.simulation.onCPU(1) { _ in
          #expect(stacks.prepareToRun(base) == true)
          #expect(stacks.grower.grow(at: base, runningOn: base) == .grown)
        }
      }
    }
    // 33 frames of the limit are charged on this CPU, 8 of these in advance.
    var owners = try (0..<25).map { _ in Owner(try stacks.allocate(node: nil, chargedTo: group)) }
    growOnOtherCPU(owners, stacks)
    #expect(Self.charged(group, stacks) == 100)
    let refusal = Self.refusal {
      while owners.count < 100 { owners.append(Owner(try stacks.allocate(node: nil, chargedTo: group))) }
    }
    #expect(owners.count == 25 + 8 && refusal?.chargedFrames == 108)
    growOnOtherCPU(owners[25..<29], stacks)
    for charged in [116, 112, 108] {
      stacks.free(owners.removeFirst().take())
      #expect(Self.charged(group, stacks) == charged)
    }
    #expect(
      Self.refusal { stacks.free(try stacks.allocate(node: nil, chargedTo: group)) }?.chargedFrames == 108)
    for owner in owners { stacks.free(owner.take()) }
    #expect(Self.charged(group, stacks) == 0)
    stacks._checkInvariants()
    try stacks.removeGroup(group)
  }

  @Test func `A group that is within its limit again frees and charges without a lock`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.growing, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 3)
    var owners = try (0..<3).map { _ in Owner(try stacks.allocate(node: nil, chargedTo: group)) }
    let base = owners[0].base
    #expect(stacks.prepareToRun(base) == true)
    #expect(stacks.grower.grow(at: base, runningOn: base) == .grown)
    // The refusal finds the group beyond its limit.
    #expect(Self.refusal { stacks.free(try stacks.allocate(node: nil, chargedTo: group)) }?.chargedFrames == 6)
    var batch = ShrinkBatch()
    stacks.retireDeadPages(of: base, below: base + 16320, into: &batch)
    stacks.completeInvalidation(of: &batch)
    stacks.releaseRetiredPages(of: base)
    #expect(Self.charged(group, stacks) == 3)
    let before = world.machine.counters.lockAcquisitions
    for owner in owners { stacks.free(owner.take()) }
    owners = try (0..<3).map { _ in Owner(try stacks.allocate(node: nil, chargedTo: group)) }
    #expect(world.machine.counters.lockAcquisitions == before)
    for owner in owners { stacks.free(owner.take()) }
    #expect(Self.charged(group, stacks) == 0)
    try stacks.removeGroup(group)
  }

  @Test
  func `When frames run out while pages of a stack are mapped, those that are there are charged, and no more`()
    throws
  {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.growing, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 100)
    let stack = try stacks.allocate(node: nil, chargedTo: group)
    world.ledger.refuseRequest = 2
    #expect(throws: ThreadStackError.self) { try stacks.populate(stack, bytes: stacks.geometry.size) }
    #expect(stacks.mappedPageCount(stack.base) == 2 && Self.charged(group, stacks) == 2)
    stacks._checkInvariants()
    try stacks.populate(stack, bytes: stacks.geometry.size)
    #expect(Self.charged(group, stacks) == 4)
    stacks.free(stack)
    #expect(Self.charged(group, stacks) == 0)
    try stacks.removeGroup(group)
  }
}
