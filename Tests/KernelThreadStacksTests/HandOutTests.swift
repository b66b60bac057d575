// The contents of a stack when it is handed out, and its source: memory, node, cache.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct HandOutTests {
  @Test(arguments: StackConfiguration.both)
  func `A stack reads as zero everywhere, whatever its former owners left at any depth`(
    _ configuration: StackConfiguration
  ) throws {
    let world = try World()
    let stacks = try world.stacks(configuration)
    // Cached, overflowing the cache, and newly made: each path is taken.
    for round in 0..<3 {
      let owners = try (0..<12).map { _ in Owner(try stacks.allocate(node: nil)) }
      for owner in owners {
        #expect(try world.machine.firstNonzero(owner.base, size: 16384) == nil, "round \(round)")
        try world.machine.dirty(owner.base, size: 16384, step: 256)
      }
      for owner in owners { stacks.free(owner.take()) }
      stacks._checkInvariants()
    }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `A freed stack serves again from this CPU's cache: no lock, no frame, no invalidation`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    let first = try stacks.allocate(node: nil)
    let base = first.base
    let requests = world.ledger.requests
    let before = world.machine.counters
    stacks.free(first)
    #expect(stacks.cachedStackCount == 1 && stacks.liveStackCount == 0)
    let second = try stacks.allocate(node: nil)
    let after = world.machine.counters
    #expect(second.base == base)
    #expect(world.ledger.requests == requests)
    #expect(after.lockAcquisitions == before.lockAcquisitions)
    #expect(after.tlbInvalidations == before.tlbInvalidations)
    stacks.free(second)
  }

  @Test func `The cache is bounded per CPU, and each CPU has its own`() throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, cachedStacksPerCPU: 3, depotStacks: 0))
    let owners = try (0..<8).map { _ in Owner(try stacks.allocate(node: nil)) }
    for owner in owners { stacks.free(owner.take()) }
    #expect(stacks.cachedStackCount == 3 && stacks.overflowCount == 5)
    let cold = stacks.coldAllocationCount
    let other = try world.simulation.onCPU(1) { (_) throws(ThreadStackError) in
      Owner(try stacks.allocate(node: nil))
    }
    #expect(stacks.coldAllocationCount == cold + 1 && stacks.cachedStackCount == 3)
    stacks.free(other.take())
    stacks._checkInvariants()
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0)
  }

  @Test(arguments: StackConfiguration.both)
  func `A cache of no stacks works`(_ configuration: StackConfiguration) throws {
    let world = try World()
    var configuration = configuration
    configuration.cachedStacksPerCPU = 0
    configuration.depotStacks = 0
    configuration.retirementBatch = 1
    let stacks = try world.stacks(configuration)
    for _ in 0..<10 {
      stacks.free(try stacks.allocate(node: nil))
      stacks._checkInvariants()
    }
    #expect(stacks.cachedStackCount == 0)
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `Linear stacks are aligned to their size and contiguous; vmalloc stacks are mapped page by page`() throws
  {
    let world = try World()
    let linear = try world.stacks(StackConfiguration(.linear))
    let stack = try linear.allocate(node: nil)
    #expect(stack.base.rawValue % 16384 == 0)
    #expect(linear.page(of: stack.base + 8192) == world.machine.frame(ofLinear: stack.base) + 2)
    linear.free(stack)

    let vmalloc = try world.stacks(StackConfiguration(.vmalloc))
    let other = try vmalloc.allocate(node: nil)
    let frames = stride(from: 0, to: 16384, by: 4096).map { vmalloc.page(of: other.base + $0) }
    #expect(Set(frames.compactMap { $0?.number }).count == 4)
    #expect(vmalloc.page(of: other.base - 1) == nil && vmalloc.page(of: other.top) == nil)
    for (page, frame) in frames.enumerated() {
      try world.machine.store(UInt64(page) + 7, to: other.base + page * 4096)
      let address = world.machine.linearAddress(of: try #require(frame))
      #expect(try world.machine.load(address, as: UInt64.self) == UInt64(page) + 7)
    }
    vmalloc.free(other)
    #expect(vmalloc.page(of: VirtualAddress(0xffff_ffff_ffff_f000)) == nil)
  }

  @Test
  func `The asked node comes first, cached or not; others serve if it cannot; each frame counts where it is`()
    throws
  {
    let world = try World(nodeBytes: [2 << 20, 2 << 20])
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    for node in [NodeID(0), NodeID(1), NodeID(0), NodeID(1)] {
      let stack = try stacks.allocate(node: node)
      #expect(stack.node == node)
      for page in 0..<4 {
        let frame = stacks.page(of: stack.base + page * 4096)
        #expect(frame.map { world.ledger.buddy.node(of: $0) } == node)
      }
      #expect(stacks.kernelStackKiB(on: node) == 16)
      #expect(stacks.kernelStackKiB(on: NodeID(1 - node.index)) == 0)
      stacks.free(stack)
      stacks._checkInvariants()
    }
    #expect(stacks.cachedStackCount == 2 && stacks.coldAllocationCount == 2)

    // Node 1 is filled to the last frames: a stack of both nodes.
    var owners: [Owner] = []
    while world.ledger.buddy.freeFrames(on: NodeID(1)) > 2 {
      let before = world.ledger.buddy.freeFrames(on: NodeID(1))
      if before < 6 {
        _ = try world.ledger.allocate(FrameRequest(node: NodeID(1), purpose: .other))
      } else {
        owners.append(Owner(try stacks.allocate(node: NodeID(1))))
      }
    }
    let whole = stacks.liveStackCount * 16
    let mixed = Owner(try stacks.allocate(node: NodeID(1)))
    let near = (0..<4).filter { page in
      stacks.page(of: mixed.base + page * 4096).map { world.ledger.buddy.node(of: $0) } == NodeID(1)
    }
    #expect(near.count == 1 || near.count == 2)
    #expect(stacks.kernelStackKiB(on: NodeID(1)) == whole + near.count * 4)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 16 - near.count * 4)
    stacks._checkInvariants()
    stacks.free(mixed.take())
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0)
    stacks._checkInvariants()
    // It is found in the cache by the node of its first frame.
    let again = Owner(try stacks.allocate(node: NodeID(1)))
    #expect(again.base == mixed.base)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 16 - near.count * 4)
    stacks.free(again.take())
    for owner in owners { stacks.free(owner.take()) }
    #expect(stacks.kernelStackKiB(on: NodeID(1)) == 0 && stacks.kernelStackKiB(on: NodeID(0)) == 0)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test func `No node means the node of the CPU that asks`() throws {
    let world = try World(nodeBytes: [2 << 20, 2 << 20])
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    for cpu in [0, 1, 0, 1] {
      world.simulation.onCPU(cpu) { _ in
        do {
          let stack = try stacks.allocate(node: nil)
          #expect(stack.node == NodeID(cpu))
          stacks.free(stack)
        } catch { Issue.record(error) }
      }
    }
    #expect(stacks.coldAllocationCount == 2)
  }

  @Test(arguments: StackConfiguration.both)
  func `A node that does not exist is an error, with stacks cached or not`(_ configuration: StackConfiguration)
    throws
  {
    let world = try World()
    let stacks = try world.stacks(configuration)
    stacks.free(try stacks.allocate(node: nil))
    let held = world.ledger.heldFrames
    for index in [1, -1, .max, .min, 2048] {
      #expect(throws: ThreadStackError.frames(.unknownNode(NodeID(index)))) {
        stacks.free(try stacks.allocate(node: NodeID(index)))
      }
    }
    #expect(world.ledger.heldFrames == held && stacks.cachedStackCount == 1)
    #expect(stacks.kernelStackKiB(on: NodeID(1)) == 0 && stacks.kernelStackKiB(on: NodeID(-1)) == 0)
  }

  @Test func `Records and tables stay below two per cent of the stacks`() throws {
    let world = try World(memoryBytes: 32 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc))
    var owners: [Owner] = []
    for _ in 0..<512 { owners.append(Owner(try stacks.allocate(node: nil))) }
    let overhead = world.ledger.heldFrames - world.ledger.frames(for: .threadStack)
    #expect(overhead * 50 <= 512 * 4)
    for owner in owners { stacks.free(owner.take()) }
    stacks._checkInvariants()
  }
}
