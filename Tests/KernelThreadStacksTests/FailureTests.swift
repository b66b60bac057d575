// Every refusal leaves all as it was, and cached stacks serve before any request is refused.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct FailureTests {
  @Test(arguments: StackConfiguration.both)
  func `Whichever request is refused, for good, nothing is left behind`(_ configuration: StackConfiguration)
    throws
  {
    // The first stack needs its tables; the 65th a new one; a stack in between none.
    for warmUp in [0, 1, 64] {
      var refused = 1
      while true {
        let world = try World()
        let stacks = try world.stacks(configuration)
        var owners: [Owner] = []
        for _ in 0..<warmUp { owners.append(Owner(try stacks.allocate(node: nil))) }
        let held = world.ledger.heldFrames
        let used = stacks.usedSlotCount
        world.ledger.refuseRequest = refused
        world.ledger.refusesAllFrom = true
        var succeeded = false
        do {
          owners.append(Owner(try stacks.allocate(node: nil)))
          succeeded = true
        } catch {
          guard case ThreadStackError.frames(.refused(let refusal)) = error else {
            Issue.record("\(error)")
            return
          }
          #expect(refusal.purpose == .threadStack || refusal.purpose == .pageTable)
          #expect(world.ledger.heldFrames == held, "refused \(refused) after \(warmUp)")
          #expect(stacks.usedSlotCount == used && stacks.liveStackCount == warmUp)
          stacks._checkInvariants()
          // And the next attempt succeeds.
          world.ledger.refuseRequest = nil
          owners.append(Owner(try stacks.allocate(node: nil)))
        }
        stacks._checkInvariants()
        for owner in owners { stacks.free(owner.take()) }
        #expect(world.simulation.violations.isEmpty)
        if succeeded { break }
        refused += 1
      }
      #expect(refused >= (configuration.strategy == .linear ? 2 : 5))
    }
  }

  @Test
  func `One refused request among many is survived by giving freed stacks back and trying once more`() throws {
    let world = try World(nodeBytes: [2 << 20, 2 << 20])
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    // A cached stack of node 0 does not serve node 1, but its frames do.
    stacks.free(try stacks.allocate(node: NodeID(0)))
    for refused in 1...4 {
      world.ledger.refuseRequest = refused
      let owner = Owner(try stacks.allocate(node: NodeID(1)))
      stacks._checkInvariants()
      stacks.free(owner.take())
      stacks.reclaim(target: .max)
      stacks.free(try stacks.allocate(node: NodeID(0)))
      stacks._checkInvariants()
    }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: StackConfiguration.both)
  func `Stacks are made until the frames end; afterwards all comes back`(_ configuration: StackConfiguration)
    throws
  {
    let world = try World(memoryBytes: 2 << 20)
    let stacks = try world.stacks(configuration)
    let held = world.ledger.heldFrames
    var owners: [Owner] = []
    var failure: ThreadStackError?
    while failure == nil {
      do { owners.append(Owner(try stacks.allocate(node: nil))) } catch { failure = error }
    }
    guard case .frames(.refused(let refusal))? = failure else {
      Issue.record("\(String(describing: failure))")
      return
    }
    #expect(world.ledger.buddy.freeFrames < 5 && refusal.freeFrames < 5)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == owners.count * 16)
    stacks._checkInvariants()
    for owner in owners { stacks.free(owner.take()) }
    stacks.reclaim(target: .max)
    stacks._checkInvariants()
    #expect(world.ledger.heldFrames - held <= 1)
    #expect(stacks.usedSlotCount == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `Slots end too, and unmapped stacks give theirs back first`() throws {
    let world = try World()
    let stacks = try world.stacks(
      StackConfiguration(.vmalloc, capacity: 5, cachedStacksPerCPU: 0, depotStacks: 0))
    var owners = try (0..<5).map { _ in Owner(try stacks.allocate(node: nil)) }
    #expect(throws: ThreadStackError.slotsExhausted(capacity: 5)) {
      _ = try stacks.allocate(node: nil).detach()
    }
    stacks.free(owners.removeLast().take())
    #expect(stacks.retiredStackCount == 1)
    owners.append(Owner(try stacks.allocate(node: nil)))
    #expect(stacks.retiredStackCount == 0)
    stacks._checkInvariants()
    for owner in owners { stacks.free(owner.take()) }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `Reclaim gives back what it is asked for, and in the end everything but the records`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    let records = world.ledger.heldFrames
    let owners = try (0..<70).map { _ in Owner(try stacks.allocate(node: nil)) }
    let full = world.ledger.heldFrames
    for owner in owners { stacks.free(owner.take()) }
    let before = world.ledger.heldFrames
    let some = stacks.reclaim(target: 1)
    #expect(some >= 1 && world.ledger.heldFrames == before - some)
    let rest = stacks.reclaim(target: .max)
    #expect(world.ledger.heldFrames == before - some - rest)
    #expect(stacks.usedSlotCount == 0 && stacks.cachedStackCount == 0)
    #expect(stacks.reclaim(target: .max) == 0)
    stacks._checkInvariants()
    let left = world.ledger.heldFrames
    #expect(left <= records + 1 && full > left)
    #expect(world.ledger.frames(for: .pageTable) == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: StackConfiguration.both)
  func `What a stopped CPU had cached comes back`(_ configuration: StackConfiguration) throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(configuration)
    let owner = Owner(try stacks.allocate(node: nil))
    world.simulation.onCPU(1) { _ in stacks.free(owner.take()) }
    #expect(stacks.cachedStackCount == 1)
    #expect(stacks.reclaim(fromStoppedCPU: 2) == 0 && stacks.reclaim(fromStoppedCPU: -1) == 0)
    #expect(stacks.reclaim(fromStoppedCPU: 1) == 4)
    #expect(stacks.cachedStackCount == 0 && stacks.retiredStackCount == 0)
    stacks._checkInvariants()
    #expect(stacks.reclaim(fromStoppedCPU: 1) == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A CPU that does not exist has neither cached stacks nor a reserve`() throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.growing))
    for cpu in [-1, 2, 3, 100, Int.max, Int.min] {
      #expect(stacks.reservedFrameCount(ofCPU: cpu) == 0 && stacks.cachedStackCount(ofCPU: cpu) == 0)
      #expect(stacks.reclaim(fromStoppedCPU: cpu) == 0)
    }
    #expect(stacks.reservedFrameCount(ofCPU: 1) == 3)
  }

  @Test func `An allocator that ends gives its records back; with a stack in use it keeps them`() throws {
    let world = try World()
    do {
      let stacks = try world.stacks(StackConfiguration(.vmalloc))
      for _ in 0..<3 { stacks.free(try stacks.allocate(node: nil)) }
    }
    #expect(world.ledger.frames(for: .threadStack) == 0 && world.ledger.frames(for: .pageTable) == 0)
    let other = try World()
    var kept: Owner?
    do {
      let stacks = try other.stacks(StackConfiguration(.vmalloc))
      kept = Owner(try stacks.allocate(node: nil))
    }
    #expect(other.ledger.frames(for: .threadStack) == 4)
    #expect(kept?.stack?.size == 16384)
    #expect(world.simulation.violations.isEmpty && other.simulation.violations.isEmpty)
  }
}
