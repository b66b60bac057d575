// The invariant of growth: a thread that runs finds as many frames in reserve as its stack can still need.

import KernelStacks
import SeededRandom
import SimulatedMachine
import Testing

@Suite struct ReserveTests {
  @Test
  func `Whichever request is refused, for good, nothing is left behind and a thread runs or waits`() throws {
    for refused in 1...24 {
      let world = try World()
      let stacks = try world.stacks(StackConfiguration(.growing))
      let held = world.ledger.heldFrames
      world.ledger.refuseRequest = refused
      world.ledger.refusesAllFrom = true
      var owners: [Owner] = []
      var waiting = 0
      for _ in 0..<4 {
        let before = world.ledger.heldFrames
        do {
          owners.append(Owner(try stacks.allocate(node: nil)))
        } catch {
          #expect(world.ledger.heldFrames == before, "refused \(refused)")
          continue
        }
        let owner = owners[owners.count - 1]
        stacks._checkInvariants()
        if stacks.prepareToRun(owner.base) {
          #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown, "refused \(refused)")
        } else {
          waiting += 1
          #expect(stacks.missingPageCount(owner.base) == 3 && stacks.mappedPageCount(owner.base) == 1)
        }
        stacks._checkInvariants()
      }
      // Memory comes back: all that wait may run.
      world.ledger.refuseRequest = nil
      world.ledger.refusesAllFrom = false
      for owner in owners {
        #expect(stacks.prepareToRun(owner.base) == true)
        if stacks.missingPageCount(owner.base) > 0 {
          #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
        }
      }
      for owner in owners { stacks.free(owner.take()) }
      stacks.reclaim(target: .max)
      stacks.fillReserve()
      stacks._checkInvariants()
      #expect(world.ledger.heldFrames == held, "refused \(refused), \(waiting) waited")
      #expect(world.simulation.violations.isEmpty)
    }
  }

  @Test
  func `A refill succeeds after every other request is refused, as often as the pool has frames for it`() throws
  {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.growing))
    let owners = try (0..<3).map { _ in Owner(try stacks.allocate(node: nil)) }
    world.ledger.refuseRequest = 1
    world.ledger.refusesAllFrom = true
    // One reserve, then the pool, then the third has to wait.
    for (index, owner) in owners.enumerated() {
      #expect(throws: ThreadStackError.self) { _ = try stacks.allocate(node: nil).detach() }
      let runs = stacks.prepareToRun(owner.base)
      #expect(runs == (index < 2))
      if runs { #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown) }
    }
    #expect(stacks.reservedFrameCount == 0)
    // A thread that is mapped to the end runs without any reserve.
    #expect(stacks.prepareToRun(owners[0].base) == true)
    // The frames of one thread serve the one that waits, although no other memory comes free.
    world.ledger.refusesAllFrom = false
    world.ledger.refuseRequest = nil
    stacks.free(owners[0].take())
    #expect(stacks.prepareToRun(owners[2].base) == true)
    #expect(stacks.grower.grow(at: owners[2].base, runningOn: owners[2].base) == .grown)
    for owner in owners[1...] { stacks.free(owner.take()) }
  }

  @Test func `While a thread waits, another runs on what is there but takes nothing`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.growing))
    let owner = Owner(try stacks.allocate(node: nil))
    #expect(stacks.prepareToRun(owner.base) == true)
    #expect(stacks.grower.grow(at: owner.base + 8192, runningOn: owner.base) == .grown)
    let other = Owner(try stacks.allocate(node: nil))
    let requests = world.ledger.requests
    #expect(stacks.prepareToRun(owner.base, mayTakeFrames: false) == true)
    #expect(stacks.prepareToRun(other.base, mayTakeFrames: false) == false)
    #expect(world.ledger.requests == requests)
    #expect(stacks.prepareToRun(other.base) == true)
    for owner in [owner, other] { stacks.free(owner.take()) }
  }

  @Test func `Where CPUs keep no reserves, a stack has its one frame, or all that it was populated with`()
    throws
  {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.growing, keepsReserves: false))
    #expect(stacks.reservedFrameCount == 0)
    let held = world.ledger.heldFrames
    let grown = try stacks.allocate(node: nil), whole = try stacks.allocate(node: nil)
    try stacks.populate(whole, bytes: 16 << 10)
    #expect(stacks.missingPageCount(grown.base) == 3 && stacks.missingPageCount(whole.base) == 0)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 20)
    // Nothing is lent by the core, and nothing grows.
    #expect(stacks.grower.grow(at: grown.base, runningOn: grown.base) == .reserveTooSmall)
    #expect(world.ledger.heldFrames >= held + 5)
    stacks._checkInvariants()
    stacks.free(grown)
    stacks.free(whole)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0)
  }

  @Test func `An idle CPU's reserve goes back and is there again before a thread runs`() throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.growing))
    let owner = Owner(try stacks.allocate(node: nil))
    let held = world.ledger.heldFrames
    #expect(world.simulation.onCPU(1) { _ in stacks.releaseReserve() } == 3)
    #expect(world.ledger.heldFrames == held - 3)
    stacks._checkInvariants()
    #expect(world.simulation.onCPU(1) { _ in stacks.prepareToRun(owner.base) } == true)
    #expect(world.ledger.heldFrames == held)
    stacks.free(owner.take())
  }

  @Test
  func `An idle CPU's reserve goes to a pool with room: a waiting thread gets it, a fork does not`() throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.growing))
    let owners = try (0..<3).map { _ in Owner(try stacks.allocate(node: nil)) }
    let held = world.ledger.heldFrames
    // Two threads use up CPU 0's reserve and take three of the pool's six frames.
    for owner in owners[..<2] {
      world.ledger.refuseRequest = 1
      world.ledger.refusesAllFrom = true
      #expect(stacks.prepareToRun(owner.base) == true)
      #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
    }
    #expect(stacks.reservedFrameCount == 6 && stacks.reservedFrameCount(ofCPU: 1) == 3)
    #expect(world.simulation.onCPU(1) { _ in stacks.releaseReserve() } == 3)
    // No other user can take them; the next refill does, without a request.
    #expect(world.ledger.heldFrames == held && stacks.reservedFrameCount == 6)
    stacks._checkInvariants()
    #expect(stacks.prepareToRun(owners[2].base) == true)
    #expect(stacks.reservedFrameCount(ofCPU: 0) == 3)
    world.ledger.refuseRequest = nil
    world.ledger.refusesAllFrom = false
    for owner in owners { stacks.free(owner.take()) }
    stacks._checkInvariants()
  }

  /// A thread of the random test, with its state in the model.
  final class Thread {
    let owner: Owner
    /// The word that it wrote to each page, from the top; the count is the deepest page that it has touched.
    var words: [UInt64] = []
    init(_ owner: Owner) { self.owner = owner }
  }

  @Test(arguments: 1...16)
  func `Threads at random depths on several CPUs run on a full reserve or wait as memory ends and returns`(
    seed: UInt64
  ) throws {
    let cpuCount = 3
    let world = try World(memoryBytes: 1 << 20, cpuCount: cpuCount, seed: seed)
    let shared = GrowingThreads(
      try world.stacks(
        // No more stacks than memory could hold to their ends: the liveness condition.
        StackConfiguration(
          .growing, capacity: 64, cachedStacksPerCPU: Int(seed % 3), retirementBatch: 1 + Int(seed % 5))))
    let held = world.ledger.heldFrames
    try world.simulation.run(
      (0..<cpuCount).map { cpu in
        { machine in
          var random = SplitMix64(seed: seed &* 131 &+ UInt64(cpu))
          for _ in 0..<150 {
            switch random.next(below: 12) {
            case 0..<4:
              guard let stack = try? shared.stacks.allocate(node: nil) else {
                shared.refusals += 1
                continue
              }
              shared.sleeping.append(Thread(Owner(stack)))
            case 4 where !shared.sleeping.isEmpty:
              let thread = shared.sleeping.remove(at: random.next(below: shared.sleeping.count))
              try shared.verify(thread, machine)
              shared.stacks.free(thread.owner.take())
            case 5: _ = shared.stacks.releaseReserve()
            case 6: shared.ballast.take(random.next(below: 24), from: world)
            case 7: shared.ballast.giveBack(random.next(below: 24), to: world)
            default:
              guard !shared.sleeping.isEmpty else { continue }
              // Switched in on this CPU, perhaps another than the last time, or put back to wait.
              let thread = shared.sleeping.remove(at: random.next(below: shared.sleeping.count))
              if shared.stacks.prepareToRun(thread.owner.base) {
                try shared.run(thread, machine, &random)
              } else {
                shared.waits += 1
              }
              shared.sleeping.append(thread)
            }
          }
        }
      })
    shared.stacks._checkInvariants()
    let expected = shared.sleeping.reduce(0) { $0 + max(1, $1.words.count) }
    #expect(shared.stacks.kernelStackKiB(on: NodeID(0)) == expected * 4, "seed \(seed)")
    #expect(shared.stacks.liveStackCount == shared.sleeping.count, "seed \(seed)")
    for thread in shared.sleeping { #expect(throws: Never.self) { try shared.verify(thread, world.machine) } }
    // Liveness: when others give their memory back, every thread runs, in some order.
    shared.ballast.giveBack(.max, to: world)
    for thread in shared.sleeping {
      #expect(shared.stacks.prepareToRun(thread.owner.base) == true, "seed \(seed)")
    }
    for thread in shared.sleeping { shared.stacks.free(thread.owner.take()) }
    shared.sleeping = []
    for cpu in 0..<cpuCount {
      world.simulation.onCPU(cpu) { _ in
        _ = shared.stacks.reclaim(target: .max)
        shared.stacks.fillReserve()
      }
    }
    shared.stacks._checkInvariants()
    #expect(world.ledger.heldFrames == held, "seed \(seed)")
    #expect(shared.refusals > 0, "seed \(seed)")
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }
}

/// The state that several simulated CPUs share; only one executes at a time.
private final class GrowingThreads: @unchecked Sendable {
  let stacks: TestStacks
  var sleeping: [ReserveTests.Thread] = []
  var refusals = 0
  var waits = 0
  let ballast = Ballast()
  init(_ stacks: consuming TestStacks) { self.stacks = stacks }

  /// The thread goes to a few depths; each fault on its own stack must be growth.
  func run(_ thread: ReserveTests.Thread, _ machine: Simulated, _ random: inout SplitMix64) throws {
    for _ in 0..<random.next(below: 3) + 1 {
      let depth = random.next(below: 4)
      let address = thread.owner.base + ((3 - depth) * 4096 + 64)
      let word = random.next()
      var faults = 0
      while true {
        do {
          try machine.store(word, to: address)
          break
        } catch {
          faults += 1
          // Interrupts are off in an exception handler.
          let interrupts = machine.disableInterrupts()
          let growth = stacks.grower.grow(at: address, runningOn: thread.owner.base)
          machine.restoreInterrupts(interrupts)
          #expect(growth == .grown && depth >= max(1, thread.words.count) && faults == 1)
          guard growth == .grown, faults < 3 else { throw error }
        }
      }
      // A page that was only passed on the way reads as zero.
      while thread.words.count <= depth { thread.words.append(0) }
      thread.words[depth] = word
      try verify(thread, machine)
    }
  }

  func verify(_ thread: ReserveTests.Thread, _ machine: Simulated) throws {
    for (depth, word) in thread.words.enumerated() {
      let page = thread.owner.base + (3 - depth) * 4096
      #expect(try machine.load(page + 64, as: UInt64.self) == word)
      #expect(try machine.load(page + 128, as: UInt64.self) == 0)
    }
  }
}
