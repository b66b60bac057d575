// Shrinking: dead pages of sleeping threads go back after one invalidation, or become valid again before.

import KernelStacks
import SimulatedMachine
import Testing

@Suite struct ShrinkTests {
  static let configuration = StackConfiguration(.growing)

  /// A stack that has grown to the end, with a word in each page: 0 in the top page's, 3 in the lowest one's.
  static func grown(_ stacks: borrowing TestStacks, _ machine: Simulated) throws -> Owner {
    let owner = Owner(try stacks.allocate(node: nil))
    #expect(stacks.prepareToRun(owner.base) == true)
    #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
    for page in 0..<4 { try machine.store(UInt64(100 + page), to: owner.base + (3 - page) * 4096 + 64) }
    return owner
  }

  @Test(arguments: [
    (16384, 1), (16383, 1), (12289, 1), (12288, 1), (12287, 2), (8193, 2), (8192, 2), (8191, 3), (4096, 3),
    (4095, 4), (1, 4), (0, 4),
  ])
  func `The pages wholly below the stack pointer go; the page that has it, those above, and the top page stay`(
    used: Int, stays: Int
  ) throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let owner = try Self.grown(stacks, world.machine)
    var batch = ShrinkBatch()
    #expect(stacks.retireDeadPages(of: owner.base, below: owner.base + used, into: &batch) == 4 - stays)
    #expect(batch.pageCount == 4 - stays && batch.isEmpty == (stays == 4))
    #expect(stacks.mappedPageCount(owner.base) == stays)
    stacks._checkInvariants()
    // Until they are released, the frames are the stack's.
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 16)
    stacks.completeInvalidation(of: &batch)
    #expect(batch.isEmpty)
    #expect(stacks.releaseRetiredPages(of: owner.base) == 4 - stays)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == stays * 4)
    #expect(stacks.mappedPageCount(owner.base) == stays && stacks.missingPageCount(owner.base) == 4 - stays)
    for page in 0..<stays {
      let address = owner.base + (3 - page) * 4096 + 64
      #expect(try world.machine.load(address, as: UInt64.self) == UInt64(100 + page))
    }
    stacks._checkInvariants()
    stacks.free(owner.take())
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `One invalidation serves the stacks of a whole batch; a batch without pages needs none`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let owners = try (0..<10).map { _ in try Self.grown(stacks, world.machine) }
    let before = world.machine.counters
    let held = world.ledger.heldFrames
    stacks.fillReserve()
    #expect(world.ledger.heldFrames == held + 3)
    var batch = ShrinkBatch()
    stacks.completeInvalidation(of: &batch)
    #expect(world.machine.counters.tlbInvalidations == before.tlbInvalidations)
    for owner in owners {
      #expect(stacks.retireDeadPages(of: owner.base, below: owner.base + 12288, into: &batch) == 3)
    }
    #expect(world.machine.counters.tlbInvalidations == before.tlbInvalidations)
    stacks.completeInvalidation(of: &batch)
    stacks.completeInvalidation(of: &batch)
    #expect(world.machine.counters.tlbInvalidations == before.tlbInvalidations + 1)
    for owner in owners { #expect(stacks.releaseRetiredPages(of: owner.base) == 3) }
    // Reserve and pool are full, so everything goes to the frame source.
    #expect(world.ledger.heldFrames == held + 3 - 30)
    for owner in owners { #expect(stacks.releaseRetiredPages(of: owner.base) == 0) }
    stacks._checkInvariants()
    for owner in owners { stacks.free(owner.take()) }
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `A thread that is wanted gets the same frames back, before the invalidation or after it`() throws {
    for invalidates in [false, true] {
      let world = try World(cpuCount: 2)
      let stacks = try world.stacks(Self.configuration)
      let owner = try Self.grown(stacks, world.machine)
      let frames = (0..<4).map { stacks.page(of: owner.base + $0 * 4096) }
      let invalidations = world.machine.counters.tlbInvalidations
      var batch = ShrinkBatch()
      #expect(stacks.retireDeadPages(of: owner.base, below: owner.base + 9000, into: &batch) == 2)
      #expect(stacks.page(of: owner.base) == nil)
      if invalidates { stacks.completeInvalidation(of: &batch) }
      #expect(stacks.restoreRetiredPages(of: owner.base) == 2)
      #expect(stacks.restoreRetiredPages(of: owner.base) == 0)
      #expect((0..<4).map { stacks.page(of: owner.base + $0 * 4096) } == frames)
      #expect(stacks.missingPageCount(owner.base) == 0 && stacks.kernelStackKiB(on: NodeID(0)) == 16)
      // Any CPU may use them at once.
      world.simulation.onCPU(1) { machine in
        for page in 0..<4 {
          let word = try? machine.load(owner.base + (3 - page) * 4096 + 64, as: UInt64.self)
          #expect(word == UInt64(100 + page))
        }
      }
      stacks.completeInvalidation(of: &batch)
      #expect(stacks.releaseRetiredPages(of: owner.base) == 0)
      #expect(world.machine.counters.tlbInvalidations == invalidations + 1)
      stacks._checkInvariants()
      stacks.free(owner.take())
      #expect(world.simulation.violations.isEmpty)
    }
  }

  @Test
  func `A stack that was shrunk grows again without an invalidation, and its new pages read as zero`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let owner = try Self.grown(stacks, world.machine)
    for _ in 0..<3 {
      try world.machine.dirty(owner.base, size: 12288, step: 64)
      var batch = ShrinkBatch()
      stacks.retireDeadPages(of: owner.base, below: owner.base + 12300, into: &batch)
      stacks.completeInvalidation(of: &batch)
      #expect(stacks.releaseRetiredPages(of: owner.base) == 3)
      stacks._checkInvariants()
      #expect(stacks.prepareToRun(owner.base) == true)
      let invalidations = world.machine.counters.tlbInvalidations
      #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
      #expect(world.machine.counters.tlbInvalidations == invalidations)
      #expect(try world.machine.firstNonzero(owner.base, size: 12288) == nil)
      #expect(try world.machine.load(owner.base + 12288 + 64, as: UInt64.self) == 100)
      stacks._checkInvariants()
    }
    stacks.free(owner.take())
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `A stack that is freed after a shrink is cached if one page is left; while it is shrunk, it is retired`()
    throws
  {
    for (used, isCached) in [(12288, true), (9000, false)] {
      let world = try World()
      let stacks = try world.stacks(Self.configuration)
      let held = world.ledger.heldFrames
      let owner = try Self.grown(stacks, world.machine)
      var batch = ShrinkBatch()
      stacks.retireDeadPages(of: owner.base, below: owner.base + used, into: &batch)
      stacks.completeInvalidation(of: &batch)
      stacks.releaseRetiredPages(of: owner.base)
      stacks.free(owner.take())
      #expect(stacks.cachedStackCount == (isCached ? 1 : 0) && stacks.retiredStackCount == (isCached ? 0 : 1))
      stacks._checkInvariants()
      // Its next owner finds no word of this one.
      stacks.fillReserve()
      let next = try Self.grown(stacks, world.machine)
      #expect(isCached == (next.base == owner.base))
      stacks.free(next.take())
      // A thread that ends while its pages are unmapped leaves them to the batch of retired stacks.
      let last = try Self.grown(stacks, world.machine)
      stacks.retireDeadPages(of: last.base, below: last.base + used, into: &batch)
      stacks.free(last.take())
      stacks._checkInvariants()
      stacks.completeInvalidation(of: &batch)
      #expect(stacks.releaseRetiredPages(of: last.base) == 0 && stacks.restoreRetiredPages(of: last.base) == 0)
      stacks.reclaim(target: .max)
      stacks._checkInvariants()
      stacks.fillReserve()
      #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0 && world.ledger.heldFrames == held)
      #expect(world.simulation.violations.isEmpty)
    }
  }

  @Test func `Released frames serve refills before other requests, and read as zero then`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    world.ledger.refuseRequest = 100
    let owners = try (0..<3).map { _ in Owner(try stacks.allocate(node: nil)) }
    world.ledger.refuseRequest = 1
    world.ledger.refusesAllFrom = true
    for owner in owners[..<2] {
      #expect(stacks.prepareToRun(owner.base) == true)
      #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
      try world.machine.dirty(owner.base, size: 12288, step: 64)
    }
    // Reserve and pool are empty now.
    #expect(stacks.prepareToRun(owners[2].base) == false)
    let held = world.ledger.heldFrames
    var batch = ShrinkBatch()
    stacks.retireDeadPages(of: owners[0].base, below: owners[0].base + 16000, into: &batch)
    stacks.completeInvalidation(of: &batch)
    #expect(stacks.releaseRetiredPages(of: owners[0].base) == 3)
    #expect(world.ledger.heldFrames == held && stacks.reservedFrameCount == 3)
    stacks._checkInvariants()
    #expect(throws: ThreadStackError.self) { _ = try stacks.allocate(node: nil).detach() }
    #expect(stacks.prepareToRun(owners[2].base) == true)
    #expect(stacks.grower.grow(at: owners[2].base, runningOn: owners[2].base) == .grown)
    #expect(try world.machine.firstNonzero(owners[2].base, size: 16384) == nil)
    world.ledger.refuseRequest = nil
    for owner in owners { stacks.free(owner.take()) }
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `The high-water mark remembers pages that a stack gave up, and not those of the life before`() throws {
    let world = try World()
    let stacks = try world.stacks(Self.configuration)
    let owner = Owner(try stacks.allocate(node: nil))
    #expect(stacks.prepareToRun(owner.base) == true)
    #expect(stacks.grower.grow(at: owner.base + 4096, runningOn: owner.base) == .grown)
    try world.machine.store(UInt64(1), to: owner.base + 8000)
    #expect(stacks.highWaterPageCount(owner.base) == 3 && stacks.highWaterByteCount(owner.base) == 8384)
    var batch = ShrinkBatch()
    stacks.retireDeadPages(of: owner.base, below: owner.base + 16000, into: &batch)
    stacks.completeInvalidation(of: &batch)
    stacks.releaseRetiredPages(of: owner.base)
    #expect(stacks.mappedPageCount(owner.base) == 1)
    #expect(stacks.highWaterPageCount(owner.base) == 3 && stacks.highWaterByteCount(owner.base) == 12288)
    // Shallower the next time: the mark stays. Deeper: it moves.
    #expect(stacks.prepareToRun(owner.base) == true)
    #expect(stacks.grower.grow(at: owner.base + 8192, runningOn: owner.base) == .grown)
    stacks.retireDeadPages(of: owner.base, below: owner.base + 16000, into: &batch)
    stacks.completeInvalidation(of: &batch)
    stacks.releaseRetiredPages(of: owner.base)
    #expect(stacks.highWaterPageCount(owner.base) == 3)
    #expect(stacks.prepareToRun(owner.base) == true)
    #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
    try world.machine.store(UInt64(1), to: owner.base + 8)
    #expect(stacks.highWaterPageCount(owner.base) == 4 && stacks.highWaterByteCount(owner.base) == 16376)
    stacks._checkInvariants()
    stacks.free(owner.take())
    stacks.reclaim(target: .max)
    let next = Owner(try stacks.allocate(node: nil))
    #expect(next.base == owner.base)
    #expect(stacks.highWaterPageCount(next.base) == 1 && stacks.highWaterByteCount(next.base) == 0)
    stacks.free(next.take())
  }

  @Test
  func `Of an address that is no live growing stack's base, or a stack pointer elsewhere, nothing is unmapped`()
    throws
  {
    let world = try World(nodeBytes: [4 << 20, 4 << 20])
    let stacks = try world.stacks(Self.configuration)
    let owner = try Self.grown(stacks, world.machine)
    let freed = Owner(try stacks.allocate(node: nil))
    stacks.free(freed.take())
    let bases = [
      owner.base + 4096, owner.base + 8, owner.base - 4096, owner.base + 32768, freed.base, VirtualAddress(0),
      VirtualAddress(.max), owner.base + (1 << 38), VirtualAddress(world.machine.linearMapOffset),
    ]
    var batch = ShrinkBatch()
    for base in bases {
      #expect(stacks.retireDeadPages(of: base, below: base + 16384, into: &batch) == 0)
      #expect(stacks.releaseRetiredPages(of: base) == 0 && stacks.restoreRetiredPages(of: base) == 0)
      #expect(stacks.highWaterPageCount(base) == (base == freed.base ? 1 : 0))
    }
    let pointers = [
      owner.base + 16385, owner.base - 1, owner.base - 16, VirtualAddress(0), VirtualAddress(.max),
      VirtualAddress(1 << 63), freed.base + 8,
    ]
    for pointer in pointers {
      #expect(stacks.retireDeadPages(of: owner.base, below: pointer, into: &batch) == 0)
    }
    #expect(batch.isEmpty && stacks.mappedPageCount(owner.base) == 4)
    stacks._checkInvariants()
    stacks.free(owner.take())

    for configuration in StackConfiguration.both {
      let stacks = try World().stacks(configuration)
      let owner = Owner(try stacks.allocate(node: nil))
      #expect(stacks.retireDeadPages(of: owner.base, below: owner.base + 16000, into: &batch) == 0)
      #expect(
        stacks.releaseRetiredPages(of: owner.base) == 0 && stacks.restoreRetiredPages(of: owner.base) == 0)
      #expect(stacks.mappedPageCount(owner.base) == 4 && stacks.highWaterPageCount(owner.base) == 4)
      stacks.free(owner.take())
    }
    #expect(batch.isEmpty)
  }

  @Test(arguments: 1...8) func `One CPU may unmap and another invalidate and release`(seed: UInt64) throws {
    let world = try World(cpuCount: 2, seed: seed)
    let stacks = try world.stacks(Self.configuration)
    let owner = try Self.grown(stacks, world.machine)
    let other = Owner(try stacks.allocate(node: nil))
    // Half the pool is needed, so that it takes the released frames.
    world.ledger.refuseRequest = 1
    world.ledger.refusesAllFrom = true
    #expect(stacks.prepareToRun(other.base) == true)
    var batch = ShrinkBatch()
    stacks.retireDeadPages(of: owner.base, below: owner.base + 16000, into: &batch)
    world.simulation.onCPU(1) { _ in
      stacks.completeInvalidation(of: &batch)
      #expect(stacks.releaseRetiredPages(of: owner.base) == 3)
    }
    #expect(stacks.reservedFrameCount == 12)
    stacks._checkInvariants()
    for owner in [owner, other] { stacks.free(owner.take()) }
    #expect(world.simulation.violations.isEmpty, "seed \(seed)")
  }

  @Test func `Pages are counted off the node that they are on`() throws {
    let world = try World(nodeBytes: [2 << 20, 2 << 20])
    let stacks = try world.stacks(Self.configuration)
    let owner = Owner(try stacks.allocate(node: NodeID(0)))
    world.simulation.onCPU(1) { _ in
      _ = stacks.releaseReserve()
      #expect(stacks.prepareToRun(owner.base) == true)
      #expect(stacks.grower.grow(at: owner.base, runningOn: owner.base) == .grown)
    }
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 4 && stacks.kernelStackKiB(on: NodeID(1)) == 12)
    var batch = ShrinkBatch()
    stacks.retireDeadPages(of: owner.base, below: owner.base + 8192, into: &batch)
    stacks.completeInvalidation(of: &batch)
    #expect(stacks.releaseRetiredPages(of: owner.base) == 2)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 4 && stacks.kernelStackKiB(on: NodeID(1)) == 4)
    stacks._checkInvariants()
    stacks.free(owner.take())
    #expect(world.simulation.violations.isEmpty)
  }
}
