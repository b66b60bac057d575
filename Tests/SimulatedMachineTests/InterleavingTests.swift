// Several CPUs: the seed's choices, the guarantees of locks, and the detection of hangs.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct InterleavingTests {
  /// Memory that CPUs share: locks and a counter, on the host.
  final class Shared {
    let locks = UnsafeMutablePointer<SpinLock>.allocate(capacity: 2)
    var counter = 0
    init() { locks.initialize(repeating: SpinLock(), count: 2) }
    // Abandoned CPUs of a deadlock never touch it again.
    deinit { locks.deallocate() }
  }

  private func count(cpus: Int, seed: UInt64, locked: Bool) throws -> (counter: Int, simulation: Simulation) {
    let simulation = try Simulation(memoryBytes: 1 << 20, cpuCount: cpus, seed: seed)
    let shared = Shared()
    let body: (Simulated) throws -> Void = { machine in
      for _ in 0..<100 {
        let state = locked ? machine.lock(shared.locks) : machine.disableInterrupts()
        let seen = shared.counter
        _ = machine.currentCPU
        shared.counter = seen + 1
        if locked { machine.unlock(shared.locks, restoring: state) } else { machine.restoreInterrupts(state) }
      }
    }
    try simulation.run(Array(repeating: body, count: cpus))
    return (shared.counter, simulation)
  }

  @Test(arguments: 1...8 as ClosedRange<UInt64>) func `A lock makes increments exact`(seed: UInt64) throws {
    for cpus in 2...4 {
      let (counter, simulation) = try count(cpus: cpus, seed: seed, locked: true)
      #expect(counter == cpus * 100, "seed \(seed)")
      #expect(simulation.violations.isEmpty, "seed \(seed)")
      #expect(simulation.machine.counters.lockAcquisitions == UInt64(cpus * 100))
    }
  }

  @Test func `Without a lock increments are lost`() throws {
    let counters = try (1...8).map { try count(cpus: 2, seed: $0, locked: false).counter }
    #expect(counters.contains { $0 < 200 })
  }

  @Test func `The same seed gives the same trace`() throws {
    var hashes: Set<UInt64> = []
    for seed in 1...8 as ClosedRange<UInt64> {
      let first = try count(cpus: 3, seed: seed, locked: true).simulation.traceHash
      let second = try count(cpus: 3, seed: seed, locked: true).simulation.traceHash
      #expect(first == second, "seed \(seed)")
      hashes.insert(first)
    }
    #expect(hashes.count == 8, "different seeds interleave differently")
  }

  @Test func `The trace names each call when asked`() throws {
    let simulation = try Simulation(
      SimulationConfiguration(
        memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 1 << 20)], recordsTrace: true))
    try simulation.run([
      { machine in machine.writeEntry(.empty, at: machine.kernelRoot) }
    ])
    #expect(simulation.trace.map(\.operation) == [.writeEntry, .finish])
    #expect(simulation.trace[0].first == UInt64(simulation.machine.kernelRoot.rawValue))
  }

  @Test func `A deadlock is reported with who holds and waits`() throws {
    var deadlocks = 0
    for seed in 1...20 as ClosedRange<UInt64> {
      let simulation = try Simulation(memoryBytes: 1 << 20, cpuCount: 2, seed: seed)
      let shared = Shared()
      func takeBoth(_ first: Int, _ second: Int) -> (Simulated) throws -> Void {
        { machine in
          let outer = machine.lock(shared.locks + first)
          let inner = machine.lock(shared.locks + second)
          machine.unlock(shared.locks + second, restoring: inner)
          machine.unlock(shared.locks + first, restoring: outer)
        }
      }
      do {
        try simulation.run([takeBoth(0, 1), takeBoth(1, 0)])
        #expect(simulation.violations.isEmpty)
      } catch SimulationError.deadlock(let text) {
        deadlocks += 1
        #expect(text.contains("CPU 0 waits for") && text.contains("which CPU 0 holds"))
        #expect(simulation.brokenRules == [.deadlock])
      }
    }
    #expect(deadlocks > 0)
    #expect(deadlocks < 20)
  }

  @Test func `A lock that is never released is not waited for for ever`() throws {
    let simulation = try Simulation(memoryBytes: 1 << 20, cpuCount: 2)
    let shared = Shared()
    let body: (Simulated) throws -> Void = { machine in _ = machine.lock(shared.locks) }
    #expect(throws: SimulationError.self) { try simulation.run([body, body]) }
    #expect(simulation.brokenRules == [.lockHeldAtEnd, .interruptsOffAtEnd, .deadlock])
  }

  @Test func `An endless run is given up`() throws {
    let simulation = try Simulation(
      SimulationConfiguration(
        memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 1 << 20)], cpuCount: 2, stepLimit: 1_000
      ))
    let body: (Simulated) throws -> Void = { machine in while machine.currentCPU >= 0 {} }
    #expect(throws: SimulationError.stepLimitReached(1_000)) { try simulation.run([body, body]) }
  }

  @Test func `The first error of a body is thrown, and the others come to their end`() throws {
    struct Refused: Error {}
    let simulation = try Simulation(memoryBytes: 1 << 20, cpuCount: 2)
    let shared = Shared()
    #expect(throws: Refused.self) {
      try simulation.run([
        { _ in throw Refused() },
        { machine in
          for _ in 0..<10 { _ = machine.currentCPU }
          shared.counter = 10
        },
      ])
    }
    #expect(shared.counter == 10)
  }

  @Test func `Each body keeps its CPU and node`() throws {
    let simulation = try Simulation(
      SimulationConfiguration(
        memory: [
          MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 1 << 20),
          MemoryBank(start: PhysicalAddress(2 << 30), byteCount: 1 << 20, node: NodeID(1)),
        ], cpuCount: 4, nodeOfCPU: [0, 0, 1, 1].map { NodeID($0) }))
    let seen = Shared()
    let bodies: [(Simulated) throws -> Void] = (0..<4).map { cpu in
      { machine in
        for _ in 0..<50 where machine.currentCPU != cpu || machine.currentNode.index != cpu / 2 {
          seen.counter += 1
        }
      }
    }
    try simulation.run(bodies)
    #expect(seen.counter == 0)
  }

  @Test func `Misuse of locks is reported`() throws {
    let shared = Shared()
    func rules(_ body: (Simulated, UnsafeMutablePointer<SpinLock>) -> Void) throws -> [Violation.Rule] {
      let simulation = try Simulation(memoryBytes: 1 << 20)
      shared.locks.initialize(repeating: SpinLock(), count: 2)
      body(simulation.machine, shared.locks)
      return simulation.brokenRules
    }
    #expect(
      try rules { machine, lock in
        let outer = machine.lock(lock)
        let inner = machine.lock(lock)
        machine.unlock(lock, restoring: inner)
        machine.unlock(lock, restoring: outer)
      } == [.recursiveLock])
    #expect(
      try rules { machine, lock in machine.unlock(lock, restoring: machine.disableInterrupts()) } == [
        .unlockNotHeld
      ])
    #expect(
      try rules { machine, lock in
        let state = machine.lock(lock)
        machine.restoreInterrupts(state)
        machine.unlock(lock, restoring: state)
      } == [.interruptsEnabledWhileLocked])
    #expect(
      try rules { machine, lock in
        let outer = machine.lock(lock)
        _ = machine.lock(lock + 1)
        machine.unlock(lock, restoring: outer)
        machine.unlock(lock + 1, restoring: outer)
      } == [.interruptsEnabledWhileLocked])
    let simulation = try Simulation(memoryBytes: 1 << 20, cpuCount: 2)
    shared.locks.initialize(repeating: SpinLock(), count: 2)
    let state = simulation.onCPU(1) { $0.lock(shared.locks) }
    simulation.machine.unlock(shared.locks, restoring: state)
    #expect(simulation.brokenRules == [.unlockNotHeld])
  }

  /// Two threads that ask which CPU they are on, with interrupts on, off, or under a lock.
  ///
  /// - Returns: the number of times that a thread finds itself on another CPU than before.
  private func moves(seed: UInt64, _ migration: ThreadMigration, masked: Bool = false, locked: Bool = false)
    throws -> Int
  {
    let simulation = try Simulation(
      SimulationConfiguration(
        memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 1 << 20)], cpuCount: 2, seed: seed,
        migration: migration))
    let shared = Shared()
    var moves = 0
    let body: (Simulated) throws -> Void = { machine in
      for _ in 0..<20 {
        let state =
          locked
          ? machine.lock(shared.locks) : masked ? machine.disableInterrupts() : InterruptState(rawValue: 1)
        let first = machine.currentCPU
        for _ in 0..<10 where machine.currentCPU != first {
          moves += 1
          break
        }
        if locked {
          machine.unlock(shared.locks, restoring: state)
        } else if masked {
          machine.restoreInterrupts(state)
        }
      }
    }
    try simulation.run([body, body])
    #expect(simulation.violations.isEmpty)
    return moves
  }

  @Test func `Threads move between CPUs only while interrupts are on, and where it is asked for`() throws {
    let seeds = 1...6 as ClosedRange<UInt64>
    #expect(try seeds.allSatisfy { try moves(seed: $0, .completing) > 0 })
    #expect(try seeds.allSatisfy { try moves(seed: $0, .completing, masked: true) == 0 })
    #expect(try seeds.allSatisfy { try moves(seed: $0, .completing, locked: true) == 0 })
    #expect(try seeds.allSatisfy { try moves(seed: $0, .none) == 0 })
  }

  @Test func `A thread that moves takes its address space along`() throws {
    for seed in 1...6 as ClosedRange<UInt64> {
      let simulation = try Simulation(
        SimulationConfiguration(
          memory: [MemoryBank(start: PhysicalAddress(1 << 30), byteCount: 1 << 20)], cpuCount: 3, seed: seed,
          migration: .completing))
      let address = VirtualAddress(0x40_0000)
      let machine = simulation.machine
      var next = simulation.memoryBanks[0].firstFrame.number
      func frame() -> PageFrame {
        defer { next += 1 }
        machine.clear(machine.linearAddress(of: PageFrame(next)), byteCount: pageSize)
        machine.publishEntries()
        return PageFrame(next)
      }
      let roots = (0..<3).map { _ in
        let (root, upper, leaf, page) = (frame(), frame(), frame(), frame())
        machine.writeEntry(.table(upper), at: root.physicalAddress)
        machine.writeEntry(.table(leaf), at: upper.physicalAddress + 2 * 8)
        machine.writeEntry(.page(page, .userReadWrite), at: leaf.physicalAddress)
        machine.publishEntries()
        return root.physicalAddress
      }
      let bodies = (0..<3).map { number in
        { (machine: Simulated) throws in
          machine.activate(root: roots[number], space: AddressSpaceID(UInt16(5 + number)))
          for _ in 0..<40 {
            try machine.store(UInt64(number), to: address, privilege: .user)
            #expect(try machine.load(address, privilege: .user) == UInt64(number), "seed \(seed)")
          }
          machine.activate(root: nil)
        }
      }
      try simulation.run(bodies)
      #expect(simulation.violations.isEmpty, "seed \(seed)")
    }
  }
}
