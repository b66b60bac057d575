// What groups of stacks are charged: to the frame, without a lock, on whichever CPU, and back to nothing.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Synchronization
import Testing

@testable import KernelThreadStacks

@Suite struct GroupTests {
  static func refusal(_ body: () throws -> Void) -> StackGroupRefusal? {
    do {
      try body()
    } catch ThreadStackError.groupLimit(let refusal) { return refusal } catch {}
    return nil
  }

  static func charged(_ group: StackGroupID, _ stacks: borrowing TestStacks) -> Int {
    (try? stacks.figures(of: group))?.chargedFrames ?? -1
  }

  @Test func `In the common path a charge takes no lock and a free of a charged stack takes none`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: .max)
    stacks.free(try stacks.allocate(node: nil, chargedTo: group))
    let before = world.machine.counters
    for _ in 0..<100 { stacks.free(try stacks.allocate(node: nil, chargedTo: group)) }
    let after = world.machine.counters
    #expect(after.lockAcquisitions == before.lockAcquisitions)
    #expect(Self.charged(group, stacks) == 0)
  }

  @Test
  func `What a CPU frees, that CPU can charge again without a lock, and its own line only is written`() throws {
    let world = try World(cpuCount: 3)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 2))
    _ = try stacks.makeGroup(limitFrames: 0)
    let group = try stacks.makeGroup(limitFrames: 8)
    // As many as the limit holds: no CPU gets credit in advance.
    let owners = try (0..<2).map { _ in Owner(try stacks.allocate(node: nil, chargedTo: group)) }
    try world.simulation.onCPU(1) { machine throws in
      for owner in owners { stacks.free(owner.take()) }
      let before = machine.counters.lockAcquisitions
      for _ in owners {
        stacks.free(try stacks.allocate(node: nil, chargedTo: group))
      }
      #expect(machine.counters.lockAcquisitions == before)
    }
    for cpu in 0..<3 {
      #expect(stacks.accounts.credit(ofCPU: cpu, group: group.index) == (cpu == 1 ? 8 : 0))
    }
    #expect(Self.charged(group, stacks) == 0)
    try stacks.removeGroup(group)
  }

  @Test func `A CPU that only frees keeps no more than two batches in advance`() throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: .max)
    let owners = try (0..<40).map { _ in Owner(try stacks.allocate(node: nil, chargedTo: group)) }
    world.simulation.onCPU(1) { _ in
      for owner in owners {
        stacks.free(owner.take())
        #expect(stacks.accounts.credit(ofCPU: 1, group: group.index) <= 2 * GroupAccounts.batch)
      }
    }
    #expect(Self.charged(group, stacks) == 0)
    try stacks.removeGroup(group)
  }

  @Test
  func `A stack that another group, or none, takes out of the cache is charged to the new owner alone`() throws
  {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 2))
    let groups = try (0..<2).map { _ in try stacks.makeGroup(limitFrames: 100) }
    let base = try stacks.allocate(node: nil, chargedTo: groups[0]).detach()
    stacks.free(try stacks.stack(at: base))
    for group in [groups[1], groups[0], groups[1]] {
      let stack = try stacks.allocate(node: nil, chargedTo: group)
      #expect(stack.base == base && stacks.group(of: stack) == group)
      let charges = groups.map { Self.charged($0, stacks) }
      #expect(charges == groups.map { $0 == group ? 4 : 0 })
      stacks._checkInvariants()
      stacks.free(stack)
      #expect(groups.allSatisfy { Self.charged($0, stacks) == 0 })
      // In between, no group owns it.
      let other = try stacks.allocate(node: nil)
      #expect(other.base == base && stacks.group(of: other) == nil)
      #expect(groups.allSatisfy { Self.charged($0, stacks) == 0 })
      stacks._checkInvariants()
      stacks.free(other)
    }
    for group in groups { try stacks.removeGroup(group) }
  }

  @Test
  func `A stack that was given up by its value keeps its group, and is charged until it is freed by address`()
    throws
  {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 2))
    _ = try stacks.makeGroup(limitFrames: 8)
    let group = try stacks.makeGroup(limitFrames: 8)
    let base = try stacks.allocate(node: nil, chargedTo: group).detach()
    #expect(throws: ThreadStackError.groupInUse(group, chargedFrames: 4)) { try stacks.removeGroup(group) }
    let again = try stacks.stack(at: base)
    #expect(stacks.group(of: again) == group)
    stacks.free(again)
    #expect(Self.charged(group, stacks) == 0)
    // The next owner of the same stack is in no group.
    let next = try stacks.allocate(node: nil)
    #expect(next.base == base && stacks.group(of: next) == nil)
    stacks.free(next)
    stacks._checkInvariants()
  }

  @Test func `When frames run out, nothing stays charged`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 100)
    for request in 1...6 {
      world.ledger.refuseRequest = request
      world.ledger.refusesAllFrom = true
      var owner: Owner?
      do { owner = Owner(try stacks.allocate(node: nil, chargedTo: group)) } catch {}
      let expected = owner == nil ? 0 : 4
      #expect(Self.charged(group, stacks) == expected)
      if let owner { stacks.free(owner.take()) }
      world.ledger.refuseRequest = nil
      stacks.reclaim(target: .max)
      stacks._checkInvariants()
    }
    #expect(Self.charged(group, stacks) == 0)
  }

  // One CPU at a time: each refusal and each figure is exact.
  @Test(arguments: 1...8)
  func `Figures and refusals are those of a model that counts frames, on whichever CPU things happen`(
    seed: UInt64
  ) throws {
    let world = try World(cpuCount: 3, seed: seed)
    let isGrowing = seed % 2 == 0
    let stacks = try world.stacks(
      StackConfiguration(
        isGrowing ? .growing : .vmalloc, cachedStacksPerCPU: 2, retirementBatch: 3, stackGroups: 4))
    var random = SplitMix64(seed: seed)
    let groups = try [0, 30, 90, 300].map { try stacks.makeGroup(limitFrames: $0) }
    var limits = [0, 30, 90, 300]
    var charged = [0, 0, 0, 0]
    var live: [(owner: Owner, group: Int, pages: Int)] = []
    var refusals = 0
    for step in 0..<900 {
      let number = random.next(below: 4)
      let cpu = random.next(below: 3)
      let pages = isGrowing ? 1 : 4
      try world.simulation.onCPU(cpu) { _ throws in
        switch random.next(below: 16) {
        case 0:
          limits[number] = random.next(below: 200)
          try stacks.setLimit(of: groups[number], toFrames: limits[number])
        case 1...8 where step / 100 % 3 != 2:
          do {
            let owner = Owner(try stacks.allocate(node: nil, chargedTo: groups[number]))
            charged[number] += pages
            live.append((owner, number, pages))
            // The excess over the limit is growth, and the credit of the other CPUs.
            let grown = live.reduce(0) { $0 + ($1.group == number ? $1.pages - pages : 0) }
            let excess = isGrowing ? grown + 2 * 64 : 0
            #expect(charged[number] <= limits[number] + excess, "step \(step)")
          } catch ThreadStackError.groupLimit(let refusal) {
            refusals += 1
            #expect(
              refusal
                == StackGroupRefusal(
                  group: groups[number], requestedFrames: pages, chargedFrames: charged[number],
                  limitFrames: limits[number]), "step \(step)")
            #expect(charged[number] + pages > limits[number], "step \(step)")
          } catch ThreadStackError.frames {}
        case 9...10 where isGrowing && !live.isEmpty:
          let index = random.next(below: live.count)
          let base = live[index].owner.base
          guard live[index].pages < 4, stacks.prepareToRun(base) == true else { return }
          let more = 1 + random.next(below: 4 - live[index].pages)
          let address = base + (4 - live[index].pages - more) * 4096
          #expect(stacks.grower.grow(at: address, runningOn: base) == .grown, "step \(step)")
          live[index].pages += more
          charged[live[index].group] += more
        case 11 where isGrowing && !live.isEmpty:
          let index = random.next(below: live.count)
          let base = live[index].owner.base
          var batch = ShrinkBatch()
          stacks.retireDeadPages(of: base, below: base + 16320, into: &batch)
          stacks.completeInvalidation(of: &batch)
          charged[live[index].group] -= stacks.releaseRetiredPages(of: base)
          live[index].pages = 1
        default:
          guard !live.isEmpty else { return }
          let (owner, group, pages) = live.remove(at: random.next(below: live.count))
          stacks.free(owner.take())
          charged[group] -= pages
        }
      }
      for group in 0..<4 { #expect(Self.charged(groups[group], stacks) == charged[group], "step \(step)") }
      stacks._checkInvariants()
    }
    #expect(refusals > 0)
    for (owner, _, _) in live { stacks.free(owner.take()) }
    for group in groups { try stacks.removeGroup(group) }
    #expect(world.simulation.violations.isEmpty)
  }

  final class Shared: @unchecked Sendable {
    let stacks: TestStacks
    init(_ stacks: consuming TestStacks) { self.stacks = stacks }
  }

  @Test(arguments: 1...16)
  func `CPUs that charge the same groups at once never exceed a limit, and all comes back`(seed: UInt64) throws
  {
    let cpuCount = 4
    let world = try World(cpuCount: cpuCount, seed: seed)
    let shared = Shared(
      try world.stacks(
        StackConfiguration(.vmalloc, cachedStacksPerCPU: 2, retirementBatch: 3, stackGroups: 2)))
    let limits = [40, 120]
    let groups = try limits.map { try shared.stacks.makeGroup(limitFrames: $0) }
    // Counted late when allocating and early when freeing: never more than the charge.
    nonisolated(unsafe) var live = [0, 0]
    nonisolated(unsafe) var refusals = 0
    try world.simulation.run(
      (0..<cpuCount).map { cpu in
        { _ in
          var random = SplitMix64(seed: seed &* 613 &+ UInt64(cpu))
          var mine: [(Owner, Int)] = []
          for _ in 0..<150 {
            let number = random.next(below: 2)
            if random.next(below: 5) < 3 {
              do {
                mine.append((Owner(try shared.stacks.allocate(node: nil, chargedTo: groups[number])), number))
                live[number] += 4
                #expect(live[number] <= limits[number], "seed \(seed)")
              } catch ThreadStackError.groupLimit(let refusal) {
                refusals += 1
                #expect(refusal.chargedFrames + 4 > limits[number], "seed \(seed)")
                #expect(refusal.chargedFrames <= limits[number], "seed \(seed)")
              }
            } else if !mine.isEmpty {
              let (owner, number) = mine.remove(at: random.next(below: mine.count))
              live[number] -= 4
              shared.stacks.free(owner.take())
            }
          }
          for (owner, number) in mine {
            live[number] -= 4
            shared.stacks.free(owner.take())
          }
        }
      })
    #expect(refusals > 0, "seed \(seed)")
    for group in groups {
      #expect(Self.charged(group, shared.stacks) == 0, "seed \(seed)")
      try shared.stacks.removeGroup(group)
    }
    shared.stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }
}
