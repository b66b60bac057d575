// The TLB rule and the costs of a free, on the simulated machine, with one CPU and with several.

import KernelStacks
import SeededRandom
import SimulatedMachine
import TestSupport
import Testing

@Suite struct TranslationRuleTests {
  @Test
  func `One invalidation serves a whole batch of overflowing frees, and frames go back a few per free`() throws
  {
    let world = try World(memoryBytes: 16 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, depotStacks: 0))
    let owners = try (0..<8 + 256).map { _ in Owner(try stacks.allocate(node: nil)) }
    let before = world.machine.counters.tlbInvalidations
    var most = 0
    for owner in owners {
      let held = world.ledger.heldFrames
      stacks.free(owner.take())
      most = max(most, held - world.ledger.heldFrames)
    }
    #expect(world.machine.counters.tlbInvalidations - before == 4)
    #expect(most <= 8)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `While a CPU waits for a batch's invalidation, others retire stacks without one until the ring is full`()
    throws
  {
    let world = try World(memoryBytes: 16 << 20, cpuCount: 2)
    let interlude = Interlude()
    let machine = SlowInvalidation(base: world.machine, interlude: interlude)
    // The ring has room for four batches: 16 stacks.
    let shared = SlowStacks(
      try ThreadStackAllocator(
        StackConfiguration(.vmalloc, cachedStacksPerCPU: 0, depotStacks: 0, retirementBatch: 4),
        machine: machine, frames: TestFrames(ledger: world.ledger),
        arena: VmallocArea(World.vmallocArea, machine: machine)))
    for _ in 0..<64 { shared.owners.append(Owner(try shared.stacks.allocate(node: nil))) }
    let held = world.ledger.heldFrames
    interlude.body = {
      world.simulation.onCPU(1) { _ in
        shared.free(12)
        #expect(interlude.invalidations == 1 && shared.stacks.retiredStackCount == 16)
        #expect(world.ledger.heldFrames == held)
        // No room: this one waits for itself alone, and its frames are back.
        shared.free(1)
        #expect(interlude.invalidations == 2 && shared.stacks.retiredStackCount == 16)
        #expect(world.ledger.heldFrames == held - 4)
      }
    }
    shared.free(4)
    #expect(interlude.body == nil && interlude.invalidations == 2)
    shared.stacks._checkInvariants()
    // There is room again as soon as others' frames have gone back, and a batch needs one invalidation as before.
    shared.free(4)
    let before = interlude.invalidations
    #expect(before <= 5 && shared.stacks.retiredStackCount < 16)
    shared.free(40)
    #expect(interlude.invalidations - before <= 10 && shared.stacks.retiredStackCount <= 8)
    shared.stacks._checkInvariants()
    shared.free(shared.owners.count)
    shared.stacks.reclaim(target: .max)
    #expect(world.ledger.frames(for: .threadStack) == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A steady state within the cache makes no invalidation and takes no lock`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    var owners = try (0..<8).map { _ in Owner(try stacks.allocate(node: nil)) }
    var random = SplitMix64(seed: 9)
    let before = world.machine.counters
    for _ in 0..<300 {
      if owners.isEmpty || (owners.count < 8 && random.next(below: 2) == 0) {
        owners.append(Owner(try stacks.allocate(node: nil)))
      } else {
        stacks.free(owners.remove(at: random.next(below: owners.count)).take())
      }
    }
    let after = world.machine.counters
    #expect(after.tlbInvalidations == before.tlbInvalidations)
    #expect(after.lockAcquisitions == before.lockAcquisitions)
    for owner in owners { stacks.free(owner.take()) }
  }

  @Test func `The tables of stacks that are given back are dropped on CPUs that run processes, too`() throws {
    let world = try World(memoryBytes: 16 << 20, cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    for cpu in 0..<2 {
      let root = try world.ledger.allocate(FrameRequest(purpose: .userMemory, cleared: true))
      world.machine.publishEntries()
      world.simulation.onCPU(cpu) {
        $0.activate(root: root.physicalAddress, space: AddressSpaceID(UInt16(5 + cpu)))
      }
    }
    for _ in 0..<3 {
      let owners = try (0..<100).map { _ in Owner(try stacks.allocate(node: nil)) }
      #expect(world.ledger.frames(for: .pageTable) > 0)
      for owner in owners { stacks.free(owner.take()) }
      stacks.reclaim(target: .max)
      #expect(world.ledger.frames(for: .pageTable) == 0)
      // All freed frames get a new use.
      var reused: [PageFrame] = []
      while let frame = try? world.ledger.allocate(FrameRequest(purpose: .other, cleared: true)) {
        reused.append(frame)
      }
      for frame in reused { try world.ledger.free(frame, order: 0) }
    }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: 1...12)
  func `CPUs that make, pass on and free stacks at once break no rule and lose nothing`(seed: UInt64) throws {
    let cpuCount = 3
    let world = try World(memoryBytes: 2 << 20, cpuCount: cpuCount, seed: seed)
    let shared = SharedStacks(
      try world.stacks(StackConfiguration(.vmalloc, cachedStacksPerCPU: 2, retirementBatch: 3)))
    try world.simulation.run(
      (0..<cpuCount).map { cpu in
        { machine in
          var random = SplitMix64(seed: seed &* 31 &+ UInt64(cpu))
          for _ in 0..<120 {
            switch random.next(below: 8) {
            case 0: shared.stacks.reclaim(target: random.next(below: 30))
            case 1...4:
              do {
                let owner = Owner(try shared.stacks.allocate(node: nil))
                let word = UInt64(owner.base.rawValue) | 1
                for page in 0..<4 {
                  let address = owner.base + (page * 4096 + random.next(below: 512) * 8)
                  #expect(try machine.load(address, as: UInt64.self) == 0, "seed \(seed)")
                  try machine.store(word, to: address)
                }
                shared.owners.append(owner)
              } catch let error as ThreadStackError {
                guard case .frames = error else { throw error }
              }
            default:
              if shared.owners.isEmpty { continue }
              let owner = shared.owners.remove(at: random.next(below: shared.owners.count))
              shared.stacks.free(owner.take())
            }
          }
        }
      })
    shared.stacks._checkInvariants()
    for owner in shared.owners { shared.stacks.free(owner.take()) }
    shared.owners = []
    for cpu in 0..<cpuCount { world.simulation.onCPU(cpu) { _ in _ = shared.stacks.reclaim(target: .max) } }
    shared.stacks._checkInvariants()
    #expect(world.ledger.frames(for: .threadStack) == 0 && world.ledger.frames(for: .pageTable) == 0)
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }
}

/// The state that several simulated CPUs share; only one executes at a time.
private final class SharedStacks: @unchecked Sendable {
  let stacks: TestStacks
  var owners: [Owner] = []
  init(_ stacks: consuming TestStacks) { self.stacks = stacks }
}

/// What happens while the next invalidation is waited for.
private final class Interlude: @unchecked Sendable {
  var body: (() -> Void)?
  var invalidations = 0
}

/// Stacks of a machine with slow invalidations, and their owners.
private final class SlowStacks {
  let stacks: ThreadStackAllocator<SlowInvalidation, TestFrames, VmallocArea<SlowInvalidation>>
  var owners: [Owner] = []

  init(_ stacks: consuming ThreadStackAllocator<SlowInvalidation, TestFrames, VmallocArea<SlowInvalidation>>) {
    self.stacks = stacks
  }

  func free(_ count: Int) {
    for _ in 0..<count { stacks.free(owners.removeLast().take()) }
  }
}

/// A machine on which others do something while an invalidation is waited for.
private struct SlowInvalidation: ForwardingMachine {
  let base: Simulated
  let interlude: Interlude

  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    interlude.invalidations += 1
    if let body = interlude.body {
      interlude.body = nil
      body()
    }
    base.invalidate(pages, in: space, scope: scope)
  }
}
