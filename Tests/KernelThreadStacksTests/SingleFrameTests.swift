// Allocators over frame sources that have only single frames, or that have to sleep before they give one.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct SingleFrameTests {
  /// Memory for records, with bytes on both sides that are no part of it.
  final class RecordMemory {
    static let margin = 4096
    let whole: UnsafeMutableRawBufferPointer
    let given: UnsafeMutableRawBufferPointer

    init(_ byteCount: Int) {
      whole = .allocate(byteCount: byteCount + 2 * Self.margin, alignment: 64)
      for index in whole.indices { whole[index] = 0xa5 }
      given = UnsafeMutableRawBufferPointer(rebasing: whole[Self.margin..<Self.margin + byteCount])
      for index in given.indices { given[index] = 0 }
    }

    deinit { whole.deallocate() }

    var hasCleanMargins: Bool {
      whole[..<Self.margin].allSatisfy { $0 == 0xa5 }
        && whole[(Self.margin + given.count)...].allSatisfy { $0 == 0xa5 }
    }
  }

  static let all = [
    StackConfiguration(.vmalloc), StackConfiguration(.growing), StackConfiguration(.vmalloc, stackGroups: 3),
    StackConfiguration(.growing, size: 24 << 10, capacity: 5000, cachedStacksPerCPU: 64),
  ]

  func byteCount(_ configuration: StackConfiguration, _ world: World) throws -> Int {
    try TestStacks.recordByteCount(
      configuration, machine: world.machine, frames: TestFrames(ledger: world.ledger))
  }

  @Test(arguments: all) func `With memory for its records, an allocator asks for single frames only`(
    _ configuration: StackConfiguration
  ) throws {
    let world = try World(cpuCount: 2)
    let memory = RecordMemory(try byteCount(configuration, world))
    do {
      let stacks = try world.stacks(configuration, records: memory.given)
      #expect(stacks.metadataByteCount == memory.given.count)
      var owners: [Owner] = []
      for _ in 0..<100 { owners.append(Owner(try stacks.allocate(node: nil))) }
      for owner in owners where stacks.prepareToRun(owner.base) && configuration.strategy == .growing {
        #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
      }
      stacks._checkInvariants()
      for owner in owners { stacks.free(owner.take()) }
      stacks._checkInvariants()
      #expect(world.ledger.largestOrder == 0)
    }
    #expect(world.ledger.frames(for: .threadStack) == 0 && world.ledger.frames(for: .pageTable) == 0)
    #expect(memory.hasCleanMargins)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: all) func `Memory that is too small or misaligned is refused, and nothing is taken`(
    _ configuration: StackConfiguration
  ) throws {
    let world = try World()
    let needed = try byteCount(configuration, world)
    let memory = RecordMemory(needed + 64)
    for (offset, count) in [(0, 0), (0, needed - 1), (1, needed), (32, needed)] {
      let unfit = UnsafeMutableRawBufferPointer(rebasing: memory.given[offset..<offset + count])
      #expect(throws: ThreadStackError.configuration(.unfitRecordMemory(byteCount: count, needed: needed))) {
        _ = try world.stacks(configuration, records: unfit)
      }
    }
    #expect(world.ledger.requests == 0 && memory.given.allSatisfy { $0 == 0 })
    let fit = UnsafeMutableRawBufferPointer(rebasing: memory.given[64...])
    #expect(try world.stacks(configuration, records: fit).liveStackCount == 0)
  }

  @Test func `A configuration that contradicts itself has no size of records`() throws {
    let world = try World()
    #expect(throws: StackConfigurationError.sizeNotPageMultiple(5000)) {
      _ = try byteCount(StackConfiguration(.vmalloc, size: 5000), world)
    }
  }

  @Test func `Where frames are only given to who may sleep, a pool that was filled before backs threads`()
    throws
  {
    let world = try World(cpuCount: 2)
    world.ledger.needsToWait = true
    let stacks = try world.stacks(StackConfiguration(.growing))
    #expect(stacks.reservedFrameCount == 0)
    let owners = try (0..<3).map { _ in Owner(try stacks.allocate(node: nil)) }
    #expect(stacks.prepareToRun(owners[0].base) == false)
    #expect(stacks.fillRefillPool() == true)
    #expect(stacks.reservedFrameCount == 6)
    // The pool has as many frames as two CPUs' reserves.
    for (index, owner) in owners.enumerated() {
      let runs = stacks.prepareToRun(owner.base)
      #expect(runs == (index < 2))
      if runs { #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown) }
    }
    #expect(stacks.fillRefillPool() == true)
    #expect(stacks.prepareToRun(owners[2].base) == true)
    stacks._checkInvariants()
    world.ledger.refuseRequest = 1
    world.ledger.refusesAllFrom = true
    #expect(stacks.fillRefillPool() == false)
    for owner in owners { stacks.free(owner.take()) }
    #expect(world.simulation.violations.isEmpty)
  }
}
