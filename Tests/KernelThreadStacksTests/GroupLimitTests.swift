// The limits of groups of stacks: how many stacks a group gets, refusals with their figures, and bad groups.

import KernelStacks
import SimulatedMachine
import Testing

@testable import KernelThreadStacks

@Suite struct GroupLimitTests {
  @Test(arguments: [StackStrategy.vmalloc, .growing])
  func `A group gets as many stacks as its limit holds, and a refusal names it and its figures`(
    _ strategy: StackStrategy
  ) throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(strategy, stackGroups: 3))
    let perStack = strategy == .growing ? 1 : 4
    _ = try stacks.makeGroup(limitFrames: 0)
    let group = try stacks.makeGroup(limitFrames: 10 * perStack + perStack - 1)
    var owners: [Owner] = []
    for _ in 0..<10 { owners.append(Owner(try stacks.allocate(node: nil, chargedTo: group))) }
    #expect(stacks.group(of: owners[3].stack!) == group)
    let held = world.ledger.heldFrames
    let live = stacks.liveStackCount
    for _ in 0..<3 {
      let refusal = GroupTests.refusal { stacks.free(try stacks.allocate(node: nil, chargedTo: group)) }
      #expect(
        refusal
          == StackGroupRefusal(
            group: group, requestedFrames: perStack, chargedFrames: 10 * perStack,
            limitFrames: 11 * perStack - 1))
    }
    #expect(world.ledger.heldFrames == held && stacks.liveStackCount == live)
    stacks._checkInvariants()
    #expect(
      "\(StackGroupRefusal(group: StackGroupID(3), requestedFrames: 4, chargedFrames: 252, limitFrames: 255))"
        == "16 KiB of stack for group 3 refused: 1008 KiB of its 1020 KiB are in use")
    // Stacks of other groups are not affected.
    owners.append(Owner(try stacks.allocate(node: nil)))
    #expect(stacks.group(of: owners[10].stack!) == nil)
    #expect(GroupTests.charged(group, stacks) == 10 * perStack)
    stacks.free(owners.removeFirst().take())
    #expect(GroupTests.charged(group, stacks) == 9 * perStack)
    owners.append(Owner(try stacks.allocate(node: nil, chargedTo: group)))
    #expect(try stacks.figures(of: group).refusals == 3)
    for owner in owners { stacks.free(owner.take()) }
    #expect(GroupTests.charged(group, stacks) == 0)
    try stacks.removeGroup(group)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: [StackStrategy.vmalloc, .growing])
  func `Whatever the limit is, a group gets all that it holds and no frame more`(_ strategy: StackStrategy)
    throws
  {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(strategy, stackGroups: 1))
    let perStack = strategy == .growing ? 1 : 4
    // From none to more than two batches: the CPU is given a batch in advance, or just not any more.
    for limit in 0...80 {
      let group = try stacks.makeGroup(limitFrames: limit)
      var owners: [Owner] = []
      let refusal = GroupTests.refusal {
        while owners.count <= limit { owners.append(Owner(try stacks.allocate(node: nil, chargedTo: group))) }
      }
      #expect(owners.count == limit / perStack, "limit \(limit)")
      #expect(refusal?.chargedFrames == owners.count * perStack, "limit \(limit)")
      for owner in owners { stacks.free(owner.take()) }
      try stacks.removeGroup(group)
    }
  }

  @Test func `What another CPU was given in advance is no reason to refuse`() throws {
    let world = try World(cpuCount: 3)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 64)
    for cpu in 1...2 {
      try world.simulation.onCPU(cpu) { (_) throws(ThreadStackError) in
        stacks.free(try stacks.allocate(node: nil, chargedTo: group))
      }
    }
    let owners = try (0..<16).map { _ in Owner(try stacks.allocate(node: nil, chargedTo: group)) }
    #expect(
      GroupTests.refusal { stacks.free(try stacks.allocate(node: nil, chargedTo: group)) }?.chargedFrames == 64)
    // Freed on other CPUs than those that were charged.
    for (index, owner) in owners.enumerated() {
      world.simulation.onCPU(index % 3) { _ in stacks.free(owner.take()) }
    }
    #expect(GroupTests.charged(group, stacks) == 0)
    stacks._checkInvariants()
    try stacks.removeGroup(group)
  }

  @Test func `Bad groups and limits are refused by typed errors, and change nothing`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 2))
    #expect(throws: ThreadStackError.invalidGroupLimit(-1)) { _ = try stacks.makeGroup(limitFrames: -1) }
    let group = try stacks.makeGroup(limitFrames: 4)
    for index in [-1, 1, 2, .max, .min] {
      let unknown = StackGroupID(index)
      #expect(throws: ThreadStackError.unknownGroup(unknown)) {
        stacks.free(try stacks.allocate(node: nil, chargedTo: unknown))
      }
      #expect(throws: ThreadStackError.unknownGroup(unknown)) { _ = try stacks.figures(of: unknown) }
      #expect(throws: ThreadStackError.unknownGroup(unknown)) { try stacks.removeGroup(unknown) }
      #expect(throws: ThreadStackError.unknownGroup(unknown)) { try stacks.setLimit(of: unknown, toFrames: 1) }
    }
    #expect(throws: ThreadStackError.invalidGroupLimit(-7)) { try stacks.setLimit(of: group, toFrames: -7) }
    let other = try stacks.makeGroup(limitFrames: 4)
    #expect(throws: ThreadStackError.groupsExhausted(capacity: 2)) { _ = try stacks.makeGroup(limitFrames: 1) }
    try stacks.removeGroup(group)
    #expect(throws: ThreadStackError.unknownGroup(group)) {
      stacks.free(try stacks.allocate(node: nil, chargedTo: group))
    }
    #expect(try stacks.makeGroup(limitFrames: 8) == group && other != group)
    let stack = try stacks.allocate(node: nil, chargedTo: group)
    try stacks.setLimit(of: group, toFrames: 0)
    #expect(try stacks.figures(of: group) == StackGroupFigures(chargedFrames: 4, limitFrames: 0, refusals: 0))
    stacks.free(stack)
    #expect(
      GroupTests.refusal { stacks.free(try stacks.allocate(node: nil, chargedTo: group)) }?.chargedFrames == 0)
    for (configuration, error) in [
      (
        StackConfiguration(.vmalloc, stackGroups: -1),
        StackConfigurationError.groupsOutOfRange(-1, maximum: 1024)
      ),
      (StackConfiguration(.vmalloc, stackGroups: 1025), .groupsOutOfRange(1025, maximum: 1024)),
      (StackConfiguration(.linear, stackGroups: 1), .groupsOfLinearStacks(1)),
    ] {
      #expect(throws: ThreadStackError.configuration(error)) { _ = try world.stacks(configuration) }
    }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A new group has nothing of the one that had its number before`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 3)
    #expect(GroupTests.refusal { stacks.free(try stacks.allocate(node: nil, chargedTo: group)) } != nil)
    #expect(try stacks.figures(of: group).refusals == 1)
    try stacks.removeGroup(group)
    #expect(try stacks.makeGroup(limitFrames: 8) == group)
    #expect(try stacks.figures(of: group) == StackGroupFigures(chargedFrames: 0, limitFrames: 8, refusals: 0))
    try stacks.removeGroup(group)
  }
}
