// Memory pressure reaches the freed stacks of all CPUs; each CPU gives its own back.

import KernelStacks
import SeededRandom
import SimulatedMachine
import TestSupport
import Testing

@Suite struct ReclaimTests {
  static let strategies = [StackStrategy.linear, .vmalloc, .growing]

  /// Lets each CPU free stacks that CPU 0 has made.
  static func fillMagazines(_ world: World, _ stacks: borrowing TestStacks, cpuCount: Int, each: Int) throws {
    var owners = try (0..<each * cpuCount).map { _ in Owner(try stacks.allocate(node: nil)) }
    for cpu in 0..<cpuCount {
      world.simulation.onCPU(cpu) { _ in for _ in 0..<each { stacks.free(owners.removeLast().take()) } }
    }
  }

  @Test(arguments: strategies)
  func `After a reclaim and every CPU's service, all frames are back, to the frame`(_ strategy: StackStrategy)
    throws
  {
    let world = try World(memoryBytes: 8 << 20, cpuCount: 4)
    let stacks = try world.stacks(StackConfiguration(strategy))
    stacks.free(try stacks.allocate(node: nil))
    stacks.reclaim(target: .max)
    for cpu in 0..<4 { world.simulation.onCPU(cpu) { _ in _ = stacks.serviceReclaimRequest() } }
    let held = world.ledger.heldFrames
    for _ in 0..<2 {
      try Self.fillMagazines(world, stacks, cpuCount: 4, each: 60)
      #expect(stacks.cachedStackCount >= 4 * 8)
      let before = world.ledger.heldFrames
      let given = stacks.reclaim(target: .max)
      #expect(world.ledger.heldFrames == before - given)
      // The magazines of the other CPUs, which only they may touch.
      #expect(stacks.cachedStackCount == 3 * 8 && stacks.depotStackCount == 0)
      for cpu in 1..<4 {
        let held = world.ledger.heldFrames
        let given = world.simulation.onCPU(cpu) { _ in stacks.serviceReclaimRequest() }
        #expect(world.ledger.heldFrames == held - given && given > 0)
        stacks._checkInvariants()
      }
      #expect(stacks.cachedStackCount == 0 && stacks.retiredStackCount == 0)
      #expect(world.ledger.heldFrames == held)
    }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `A reclaim that goes on on another CPU whenever it may be preempted reaches all magazines`() throws {
    let world = try World(memoryBytes: 8 << 20, cpuCount: 3)
    let mover = Mover()
    let machine = MovingMachine(base: world.machine, mover: mover)
    let stacks = try ThreadStackAllocator(
      StackConfiguration(.vmalloc), machine: machine, frames: TestFrames(ledger: world.ledger),
      arena: VmallocArea(World.vmallocArea, machine: machine))
    for start in 0..<3 {
      var owners = try (0..<24).map { _ in Owner(try stacks.allocate(node: nil)) }
      for cpu in 0..<3 {
        mover.cpu = cpu
        for _ in 0..<8 { stacks.free(owners.removeLast().take()) }
      }
      #expect((0..<3).allSatisfy { stacks.cachedStackCount(ofCPU: $0) == 8 })
      mover.cpu = start
      mover.isMoving = true
      stacks.reclaim(target: .max)
      mover.isMoving = false
      for cpu in 0..<3 {
        mover.cpu = cpu
        stacks.serviceReclaimRequest()
      }
      #expect(stacks.cachedStackCount == 0, "from CPU \(start)")
    }
    mover.cpu = 0
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A CPU that was asked for nothing does nothing, and takes no lock`() throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    try Self.fillMagazines(world, stacks, cpuCount: 2, each: 6)
    let before = world.machine.counters
    for cpu in 0..<2 {
      #expect(world.simulation.onCPU(cpu) { _ in stacks.serviceReclaimRequest() } == 0)
    }
    #expect(world.machine.counters == before && stacks.cachedStackCount == 12)
    // A small request, for which this CPU and the depot suffice.
    #expect(stacks.reclaim(target: 3) >= 3)
    #expect(world.simulation.onCPU(1) { _ in stacks.serviceReclaimRequest() } == 0)
  }

  @Test func `A CPU that is asked and has nothing does not complete what others have unmapped`() throws {
    let world = try World(memoryBytes: 8 << 20, cpuCount: 3)
    var configuration = StackConfiguration(.vmalloc)
    configuration.depotStacks = 0
    let stacks = try world.stacks(configuration)
    var owners = try (0..<40).map { _ in Owner(try stacks.allocate(node: nil)) }
    stacks.reclaim(target: .max)
    for _ in 0..<12 { stacks.free(owners.removeLast().take()) }
    let waiting = stacks.retiredStackCount
    #expect(waiting > 0)
    let before = world.machine.counters
    #expect(world.simulation.onCPU(1) { _ in stacks.serviceReclaimRequest() } == 0)
    #expect(world.machine.counters == before && stacks.retiredStackCount == waiting)
    // The request is served: the CPU caches again, and a second look does nothing.
    world.simulation.onCPU(1) { _ in stacks.free(owners.removeLast().take()) }
    #expect(stacks.cachedStackCount(ofCPU: 1) == 1)
    // The third CPU has unmapped stacks on request, and has used up its magazine since: it completes what it has begun.
    world.simulation.onCPU(2) { _ in
      for _ in 0..<2 { stacks.free(owners.removeLast().take()) }
      stacks.serviceReclaimRequest()
      for _ in 0..<4 { stacks.free(owners.removeLast().take()) }
    }
    stacks.reclaim(target: .max)
    world.simulation.onCPU(2) { _ in
      stacks.free(owners.removeLast().take())
      while stacks.cachedStackCount(ofCPU: 2) > 0, let stack = try? stacks.allocate(node: nil) {
        owners.append(Owner(stack))
      }
      #expect(stacks.cachedStackCount(ofCPU: 2) == 0 && stacks.retiredStackCount == 2)
      #expect(stacks.serviceReclaimRequest() > 0)
      #expect(stacks.retiredStackCount == 0)
    }
    for owner in owners { stacks.free(owner.take()) }
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `A CPU that is asked gives its magazine back in its frees, a few frames at a time, and caches again`()
    throws
  {
    let world = try World(memoryBytes: 8 << 20, cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    var owners = try (0..<40).map { _ in Owner(try stacks.allocate(node: nil)) }
    world.simulation.onCPU(1) { _ in for _ in 0..<8 { stacks.free(owners.removeLast().take()) } }
    let held = world.ledger.heldFrames
    stacks.reclaim(target: .max)
    #expect(stacks.cachedStackCount == 8)
    world.simulation.onCPU(1) { _ in
      for left in (0..<8).reversed() {
        let held = world.ledger.heldFrames
        stacks.free(owners.removeLast().take())
        #expect(stacks.cachedStackCount == left && held - world.ledger.heldFrames <= 16)
        stacks._checkInvariants()
      }
      stacks.free(owners.removeLast().take())
      #expect(stacks.cachedStackCount == 1)
      // The rest of the request: what was unmapped on the way has to be invalidated.
      #expect(stacks.retiredStackCount == 16)
      _ = stacks.serviceReclaimRequest()
      #expect(stacks.cachedStackCount == 0 && stacks.retiredStackCount == 0)
    }
    #expect(world.ledger.heldFrames == held - 17 * 4)
    for owner in owners { stacks.free(owner.take()) }
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A CPU that goes offline is drained, asked or not; online again it works as before`() throws {
    for isAsked in [false, true] {
      let world = try World(memoryBytes: 8 << 20, cpuCount: 2)
      let stacks = try world.stacks(StackConfiguration(.growing))
      try Self.fillMagazines(world, stacks, cpuCount: 2, each: 8)
      let held = world.ledger.heldFrames
      if isAsked { stacks.reclaim(target: .max) }
      let given = stacks.reclaim(fromStoppedCPU: 1)
      #expect(given >= 8 + 3 && stacks.cachedStackCount == (isAsked ? 0 : 8))
      #expect(world.ledger.heldFrames < held)
      stacks._checkInvariants()
      #expect(stacks.reclaim(fromStoppedCPU: 1) == 0)
      #expect(stacks.reclaim(fromStoppedCPU: 2) == 0 && stacks.reclaim(fromStoppedCPU: -1) == 0)
      let stack = Owner(try stacks.allocate(node: nil))
      world.simulation.onCPU(1) { _ in
        #expect(stacks.prepareToRun(stack.base) == true)
        stacks.free(stack.take())
      }
      #expect(stacks.cachedStackCount == (isAsked ? 1 : 8))
      stacks._checkInvariants()
      #expect(world.simulation.violations.isEmpty)
    }
  }

  @Test
  func `An allocation that finds no memory takes what the depot has, and asks the other CPUs for theirs`()
    throws
  {
    let world = try World(memoryBytes: 2 << 20, cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    try Self.fillMagazines(world, stacks, cpuCount: 2, each: 8)
    var owners: [Owner] = []
    while let stack = try? stacks.allocate(node: nil) { owners.append(Owner(stack)) }
    #expect(stacks.cachedStackCount == 8 && stacks.depotStackCount == 0)
    #expect(world.simulation.onCPU(1) { _ in stacks.serviceReclaimRequest() } == 32)
    for _ in 0..<8 { owners.append(Owner(try stacks.allocate(node: nil))) }
    #expect(throws: ThreadStackError.self) { _ = try stacks.allocate(node: nil).detach() }
    stacks._checkInvariants()
    for owner in owners { stacks.free(owner.take()) }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: 1...12)
  func `A stack that finds the ring full, because invalidations are slow, goes back all the same`(seed: UInt64)
    throws
  {
    let cpuCount = 8
    let world = try World(memoryBytes: 8 << 20, cpuCount: cpuCount, seed: seed)
    let stacks = try world.stacks(
      StackConfiguration(.vmalloc, size: 4096, cachedStacksPerCPU: 0, depotStacks: 0, retirementBatch: 1))
    let shared = PassedStacks(stacks, cpuCount: cpuCount)
    for _ in 0..<cpuCount * 24 { shared.owners.append(Owner(try shared.stacks.allocate(node: nil))) }
    try world.simulation.run(
      (0..<cpuCount).map { _ in
        { _ in for _ in 0..<24 { shared.stacks.free(shared.owners.removeLast().take()) } }
      })
    shared.stacks._checkInvariants()
    shared.stacks.reclaim(target: .max)
    shared.stacks._checkInvariants()
    #expect(world.ledger.frames(for: .threadStack) == 0, "seed \(seed)")
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }

  @Test(arguments: 1...40)
  func `CPUs that do everything at once, and go offline and come back, break no rule and lose nothing`(
    seed: UInt64
  ) throws {
    let cpuCount = 4
    let strategy = Self.strategies[Int(seed % 3)]
    let world = try World(memoryBytes: 3 << 20, cpuCount: cpuCount, seed: seed)
    var configuration = StackConfiguration(strategy)
    configuration.cachedStacksPerCPU = Int(seed % 5)
    configuration.depotStacks = Int(seed % 4) * 8
    configuration.retirementBatch = 1 + Int(seed % 7)
    let shared = PassedStacks(try world.stacks(configuration), cpuCount: cpuCount)
    let held = world.ledger.heldFrames
    try world.simulation.run(
      (0..<cpuCount).map { cpu in
        { machine in
          var random = SplitMix64(seed: seed &* 131 &+ UInt64(cpu))
          for _ in 0..<150 { try shared.step(cpu, machine, &random, seed) }
        }
      })
    shared.stacks._checkInvariants()
    #expect(shared.drains > 0, "seed \(seed)")
    let frames = shared.owners.count * (strategy == .growing ? 1 : 4)
    #expect(shared.stacks.kernelStackKiB(on: NodeID(0)) == frames * 4, "seed \(seed)")
    for owner in shared.owners { shared.stacks.free(owner.take()) }
    shared.owners = []
    shared.stacks.reclaim(target: .max)
    for cpu in 1..<cpuCount {
      world.simulation.onCPU(cpu) { _ in
        _ = shared.stacks.serviceReclaimRequest()
        shared.stacks.fillReserve()
      }
    }
    world.simulation.onCPU(0) { _ in shared.stacks.fillReserve() }
    shared.stacks._checkInvariants()
    #expect(shared.stacks.cachedStackCount == 0 && shared.stacks.retiredStackCount == 0, "seed \(seed)")
    // The vmalloc area's own frames were taken with the first table.
    #expect(world.ledger.heldFrames - held <= 1, "seed \(seed)")
    #expect(world.ledger.frames(for: .pageTable) <= 2, "seed \(seed)")
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }
}

/// The CPU on which code continues.
private final class Mover: @unchecked Sendable {
  var cpu = 0
  var isMoving = false
}

/// A machine on which code continues on the next CPU whenever interrupts are enabled.
private struct MovingMachine: ForwardingMachine {
  let base: Simulated
  let mover: Mover

  var currentCPU: Int { mover.cpu }

  func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    base.invalidate(pages, in: space, scope: scope)
  }

  func restoreInterrupts(_ state: InterruptState) {
    base.restoreInterrupts(state)
    if mover.isMoving, state.rawValue != 0 { mover.cpu = (mover.cpu + 1) % base.cpuCount }
  }
}

/// The state that several simulated CPUs share; only one executes at a time.
private final class PassedStacks: @unchecked Sendable {
  let stacks: TestStacks
  var owners: [Owner] = []
  /// The state of each CPU: a stopped one may be drained by another.
  private enum CPUState { case running, stopped, drained }
  private var states: [CPUState]
  private(set) var drains = 0

  init(_ stacks: consuming TestStacks, cpuCount: Int) {
    self.stacks = stacks
    states = Array(repeating: .running, count: cpuCount)
  }

  /// Stops until another CPU has drained this one, or for a bounded time.
  private func stop(_ cpu: Int, _ machine: Simulated) {
    states[cpu] = .stopped
    for _ in 0..<40 where states[cpu] == .stopped { machine.publishEntries() }
    while states[cpu] == .drained { machine.publishEntries() }
    states[cpu] = .running
  }

  private func drainOneThatHasStopped() {
    guard let cpu = states.firstIndex(of: .stopped) else { return }
    states[cpu] = .drained
    stacks.reclaim(fromStoppedCPU: cpu)
    drains += 1
    states[cpu] = .running
  }

  func step(_ cpu: Int, _ machine: Simulated, _ random: inout SplitMix64, _ seed: UInt64) throws {
    drainOneThatHasStopped()
    switch random.next(below: 21) {
    case 20: stop(cpu, machine)
    case 0: stacks.reclaim(target: random.next(below: 2) == 0 ? .max : random.next(below: 30))
    case 1, 2: stacks.serviceReclaimRequest()
    case 3: stacks.age()
    case 4...11:
      do {
        let owner = Owner(try stacks.allocate(node: nil))
        let word = UInt64(owner.base.rawValue) | 1
        let pages = stacks.configuration.strategy == .growing ? 3..<4 : 0..<4
        for page in pages {
          let address = owner.base + (page * 4096 + random.next(below: 512) * 8)
          #expect(try machine.load(address, as: UInt64.self) == 0, "seed \(seed)")
          try machine.store(word, to: address)
        }
        owners.append(owner)
      } catch let error as ThreadStackError {
        guard case .frames = error else { throw error }
      }
    default:
      if owners.isEmpty { return }
      stacks.free(owners.remove(at: random.next(below: owners.count)).take())
    }
  }
}
