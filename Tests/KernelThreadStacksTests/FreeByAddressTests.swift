// Stacks that are handed out detached and freed by address: one CPU of several succeeds, and each mistake is found.

import KernelMachine
import KernelStacks
@testable import KernelThreadStacks
import SimulatedMachine
import Testing

@Suite struct FreeByAddressTests {
  static let configurations = [
    StackConfiguration(.vmalloc), StackConfiguration(.growing), StackConfiguration(.vmalloc, phase: 16384),
    StackConfiguration(.vmalloc, cachedStacksPerCPU: 0, depotStacks: 0),
    StackConfiguration(.growing, size: 8192),
    StackConfiguration(.vmalloc, size: 64 << 10),
  ]

  /// Takes a stack as C does.
  private func take(from stacks: borrowing TestStacks) throws -> VirtualAddress {
    let cached =
      stacks.servesAnyCached(node: -1)
      ? stacks.takeCached { base, offset, byteCount in
        if byteCount > 0 { stacks.machine.clear(base + offset, byteCount: byteCount) }
        return base
      } : nil
    return try cached ?? stacks.allocate(node: nil).detach()
  }

  @Test(arguments: configurations, [false, true])
  func `A stack is freed by its address once, whichever way`(
    _ configuration: StackConfiguration, isAtHand: Bool
  ) throws {
    let world = try World(memoryBytes: 8 << 20, tracksDirtyPages: isAtHand)
    let stacks = try world.stacks(configuration)
    for round in 0..<3 {
      var bases: [VirtualAddress] = []
      for _ in 0..<20 {
        let base = try take(from: stacks)
        let used = try (0..<configuration.size / pageSize).first { page in
          let address = base + page * pageSize
          guard stacks.page(of: address) != nil else { return false }
          return try world.machine.firstNonzero(address, size: pageSize) != nil
        }
        #expect(used == nil)
        try world.machine.dirty(base + (configuration.size - 4096), size: 4096)
        bases.append(base)
      }
      stacks._checkInvariants()
      #expect(stacks.liveStackCount == 20)
      var freedAtHand = 0
      for base in bases {
        if isAtHand, stacks.freeAtHand(at: base) { freedAtHand += 1 } else { try stacks.free(at: base) }
        let isFreedTwice = stacks.freeAtHand(at: base)
        #expect(!isFreedTwice)
        #expect(throws: ThreadStackError.notLive(base)) { try stacks.free(at: base) }
        stacks._checkInvariants()
      }
      #expect(stacks.liveStackCount == 0, "round \(round)")
      // One in eight exclusive accesses fails without a reason.
      #expect(!isAtHand || freedAtHand > 10)
    }
    stacks.reclaim(target: .max)
    // Reserves of growing stacks stay.
    #expect(configuration.strategy == .growing || world.ledger.frames(for: .threadStack) == 0)
    #expect(stacks.cachedStackCount == 0 && stacks.usedSlotCount == 0 && stacks.lostStackCount == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test(arguments: configurations)
  func `Addresses that are no base of a stack in use are refused, and nothing changes`(
    _ configuration: StackConfiguration
  ) throws {
    let world = try World(memoryBytes: 8 << 20)
    let stacks = try world.stacks(configuration)
    let base = try stacks.allocate(node: nil).detach()
    let slots = stacks.slotAddresses
    let stride = stacks.geometry.stride
    func expect(_ error: ThreadStackError, at address: VirtualAddress) {
      let isFreed = stacks.freeAtHand(at: address)
      #expect(!isFreed, "\(address)")
      #expect(throws: error) { try stacks.free(at: address) }
      stacks._checkInvariants()
    }
    for distance in [1, 8, 4096, configuration.size - 1, -1, -4096, configuration.size - stride] {
      expect(.unalignedAddress(base + distance), at: base + distance)
    }
    expect(.notLive(base + stride), at: base + stride)
    // The last slot, which never had a table; the one after it; the one before the first, and what is far away.
    let last = slots.upperBound + (-1 - (slots.upperBound - base - 1) % stride)
    expect(.notLive(last), at: last)
    expect(.foreignAddress(last + stride), at: last + stride)
    let before = slots.lowerBound + stacks.geometry.areaLead + stacks.geometry.stackOffset + -stride
    expect(.foreignAddress(before), at: before)
    for address in [0, 4096, UInt.max, 1 << 63, UInt(0x4000_0000)] {
      expect(.foreignAddress(VirtualAddress(address)), at: VirtualAddress(address))
    }
    #expect(stacks.liveStackCount == 1)
    try stacks.free(at: base)
  }

  @Test(arguments: [false, true])
  func `Stacks that were charged, grown or shrunk are freed with all that they have`(isAtHand: Bool) throws {
    let world = try World(memoryBytes: 8 << 20)
    let stacks = try world.stacks(StackConfiguration(.growing, size: 32 << 10, stackGroups: 3))
    _ = try stacks.makeGroup(limitFrames: 0)
    for group in [try stacks.makeGroup(limitFrames: 40), try stacks.makeGroup(limitFrames: 40)] {
      for pages in 1...8 {
        let stack = try stacks.allocate(node: nil, chargedTo: group)
        try stacks.populate(stack, bytes: pages * pageSize)
        let base = stack.detach()
        if !(isAtHand && stacks.freeAtHand(at: base)) { try stacks.free(at: base) }
        let figures = try stacks.figures(of: group)
        #expect(figures.chargedFrames == 0)
        stacks._checkInvariants()
      }
    }
    for pages in 1...8 {
      let stack = try stacks.allocate(node: nil)
      try stacks.populate(stack, bytes: pages * pageSize)
      let base = stack.detach()
      if !(isAtHand && stacks.freeAtHand(at: base)) { try stacks.free(at: base) }
      stacks._checkInvariants()
    }
    let deep = try stacks.allocate(node: nil)
    try stacks.populate(deep, bytes: 32 << 10)
    var batch = ShrinkBatch()
    _ = stacks.retireDeadPages(of: deep.base, below: deep.top + -64, into: &batch)
    stacks.completeInvalidation(of: &batch)
    _ = stacks.releaseRetiredPages(of: deep.base)
    let base = deep.detach()
    if !(isAtHand && stacks.freeAtHand(at: base)) { try stacks.free(at: base) }
    stacks._checkInvariants()
    #expect(stacks.liveStackCount == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `Groups with the number 0, too`() throws {
    let world = try World(memoryBytes: 4 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, stackGroups: 1))
    let group = try stacks.makeGroup(limitFrames: 4)
    for _ in 0..<3 {
      let base = try stacks.allocate(node: nil, chargedTo: group).detach()
      if !stacks.freeAtHand(at: base) { try stacks.free(at: base) }
      let figures = try stacks.figures(of: group)
      #expect(figures.chargedFrames == 0)
      stacks._checkInvariants()
    }
  }

  @Test func `Stacks of two nodes are freed by address, and not handed out without a look at their node`()
    throws
  {
    let world = try World(nodeBytes: [2 << 20, 2 << 20])
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    for node in [0, 1, 1, 0] {
      let base = try stacks.allocate(node: NodeID(node)).detach()
      if !stacks.freeAtHand(at: base) { try stacks.free(at: base) }
      let isServed = stacks.servesAnyCached(node: -1) || stacks.servesAnyCached(node: Int32(node))
      let size = stacks.kernelStackKiB(on: NodeID(node))
      #expect(!isServed && size == 0)
      stacks._checkInvariants()
    }
  }

  @Test func `Linear stacks and the boot stack are told apart`() throws {
    let world = try World()
    let linear = try world.stacks(StackConfiguration(.linear))
    let base = try take(from: linear)
    let isFreedAtHand = linear.freeAtHand(at: base)
    #expect(!isFreedAtHand)
    #expect(throws: ThreadStackError.foreignAddress(base)) { try linear.free(at: base) }
    try linear.free(linearBlockAt: base)
    #expect(throws: ThreadStackError.notLive(base)) { try linear.free(linearBlockAt: base) }
    let again = try take(from: linear)
    #expect(again == base)
    #expect(linear.liveStackCount == 1 && linear.cachedStackCount == 0)
    try linear.free(linearBlockAt: base)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    let boot = VirtualAddress(0xffff_ff80_0010_4000)
    try stacks.adoptBootStack(at: boot, firstFrame: PageFrame(0x40100))
    let isBootFreed = stacks.freeAtHand(at: boot)
    #expect(!isBootFreed)
    #expect(throws: ThreadStackError.bootStack(boot)) { try stacks.free(at: boot) }
  }

  @Test func `A stack is not taken at hand while the stack pointer may be on it`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    let base = try stacks.allocate(node: nil).detach()
    for distance in [0, 16, 8192, 16384, 32752] {
      let isFreed = stacks.freeAtHand(at: base, stackPointer: base + distance)
      #expect(!isFreed, "\(distance)")
    }
    #expect(stacks.liveStackCount == 1)
    var times = 0
    while !stacks.freeAtHand(at: base, stackPointer: base + (times % 2 == 0 ? -16 : 32768)) { times += 1 }
    #expect(stacks.liveStackCount == 0)
  }

  @Test(arguments: UInt64(1)...24)
  func `Of four CPUs that free the same stack at the same moment, one succeeds`(seed: UInt64) throws {
    let world = try World(memoryBytes: 4 << 20, cpuCount: 4, seed: seed)
    let caches = Int(seed) % 3
    let stacks = try world.stacks(
      StackConfiguration(seed % 2 == 0 ? .vmalloc : .growing, cachedStacksPerCPU: caches, depotStacks: caches))
    for turn in 0..<12 {
      let base = try take(from: stacks)
      nonisolated(unsafe) var freed = 0
      nonisolated(unsafe) var refused = 0
      try withUnsafePointer(to: stacks) { shared in
        nonisolated(unsafe) let stacks = shared
        let bodies = (0..<4).map { number in
          { (_: Simulated) throws in
            if (number + turn) % 4 > 0, stacks.pointee.freeAtHand(at: base) {
              freed += 1
              return
            }
            do throws(ThreadStackError) {
              try stacks.pointee.free(at: base)
              freed += 1
            } catch {
              #expect(error == .notLive(base))
              refused += 1
            }
          }
        }
        try world.simulation.run(bodies)
      }
      #expect(freed == 1 && refused == 3, "seed \(seed), turn \(turn)")
      stacks._checkInvariants()
    }
    #expect(world.simulation.violations.isEmpty)
  }
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable, M: ExclusiveAccessMachine {
  /// Frees a stack on which nobody runs.
  func freeAtHand(at address: VirtualAddress) -> Bool {
    freeAtHand(at: address, stackPointer: VirtualAddress(0))
  }
}
