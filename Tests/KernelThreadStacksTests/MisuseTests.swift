// Misuse is found: double free, foreign addresses, lost stacks, the boot stack.

import KernelStacks
import SimulatedMachine
import Synchronization
import Testing

private let lostBase = Atomic<UInt>(0)
private let lostCount = Atomic<Int>(0)

@Suite(.serialized) struct MisuseTests {
  @Test
  func `An address comes back into ownership once; freed twice, foreign or inner addresses are errors`() throws
  {
    let world = try World()
    let stacks = try world.stacks(
      StackConfiguration(.vmalloc, cachedStacksPerCPU: 1, depotStacks: 0, retirementBatch: 2))
    let kept = Owner(try stacks.allocate(node: nil))
    let address = try stacks.allocate(node: nil).detach()
    #expect(throws: ThreadStackError.unalignedAddress(address + 16)) { try stacks.give(address + 16) }
    #expect(throws: ThreadStackError.unalignedAddress(address - 4096)) { try stacks.give(address - 4096) }
    try stacks.give(address)
    // Cached, then retired, then free: in each state the allocator knows that the stack has no owner.
    #expect(throws: ThreadStackError.notLive(address)) { try stacks.give(address) }
    let cached = try stacks.allocate(node: nil)
    let second = try stacks.allocate(node: nil).detach()
    stacks.free(cached)
    try stacks.give(second)
    #expect(stacks.retiredStackCount == 1)
    #expect(throws: ThreadStackError.notLive(second)) { try stacks.give(second) }
    stacks.reclaim(target: .max)
    #expect(throws: ThreadStackError.notLive(second)) { try stacks.give(second) }
    let far = address + (64 * 32768)
    #expect(throws: ThreadStackError.notLive(far)) { try stacks.give(far) }
    for foreign in [
      VirtualAddress(0), VirtualAddress(.max), world.machine.linearAddress(of: PageFrame(0x40000)),
    ] {
      #expect(throws: ThreadStackError.foreignAddress(foreign)) { try stacks.give(foreign) }
    }
    stacks._checkInvariants()
    stacks.free(kept.take())
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `Linear stacks: a double free is found by a mark in the memory, and without it by the frame source`()
    throws
  {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.linear, cachedStacksPerCPU: 1, depotStacks: 0))
    let address = try stacks.allocate(node: nil).detach()
    #expect(throws: ThreadStackError.unalignedAddress(address + 4096)) { try stacks.give(address + 4096) }
    #expect(throws: ThreadStackError.foreignAddress(VirtualAddress(4096))) {
      try stacks.give(VirtualAddress(4096))
    }
    try stacks.give(address)
    #expect(throws: ThreadStackError.notLive(address)) { try stacks.give(address) }
    stacks.reclaim(target: .max)
    let keeper = try stacks.allocate(node: nil)
    let freed = try stacks.allocate(node: nil).detach()
    stacks.free(keeper)
    try stacks.give(freed)
    #expect(throws: ThreadStackError.notLive(freed)) { try stacks.give(freed) }
    #expect(stacks.refusedFreeCount == 0)
    // Another owner of the memory has written there meanwhile.
    try world.machine.store(UInt64(0), to: freed)
    try stacks.give(freed)
    #expect(stacks.refusedFreeCount == 1)
  }

  @Test
  func `Linear stacks: a stack that another CPU or the depot has cached is not live; handed out again, it is`()
    throws
  {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(StackConfiguration(.linear, cachedStacksPerCPU: 2, depotStacks: 4))
    let addresses = try (0..<6).map { _ in try stacks.allocate(node: nil).detach() }
    for address in addresses { try world.simulation.onCPU(1) { _ in try stacks.give(address) } }
    for address in addresses {
      #expect(throws: ThreadStackError.notLive(address)) { try stacks.give(address) }
    }
    for _ in 0..<6 {
      let again = try stacks.allocate(node: nil).detach()
      #expect(try world.machine.load(again) == UInt64(0))
      try stacks.give(again)
    }
    let foreign = world.machine.linearAddress(of: PageFrame(0x40000 + 0x40000))
    #expect(throws: ThreadStackError.foreignAddress(foreign)) { try stacks.give(foreign) }
    #expect(stacks.refusedFreeCount == 0 && world.simulation.violations.isEmpty)
  }

  @Test(arguments: StackConfiguration.both)
  func `A quarantined stack is never handed out again`(_ configuration: StackConfiguration) throws {
    let world = try World(cpuCount: 2)
    let stacks = try world.stacks(configuration)
    let addresses = try (0..<3).map { _ in try stacks.allocate(node: nil).detach() }
    for address in addresses { try stacks.give(address) }
    let elsewhere = world.simulation.onCPU(1) { _ in stacks.quarantine(at: addresses[1]) }
    let first = stacks.quarantine(at: addresses[1])
    let again = stacks.quarantine(at: addresses[1])
    #expect([elsewhere, first, again] == [false, true, false])
    #expect(stacks.lostStackCount == 1 && stacks.cachedStackCount == 2)
    // Its frames are held for good.
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 16)
    stacks._checkInvariants()
    if configuration.strategy == .vmalloc {
      #expect(throws: ThreadStackError.notLive(addresses[1])) { try stacks.give(addresses[1]) }
    }
    var owners = try (0..<40).map { _ in Owner(try stacks.allocate(node: nil)) }
    #expect(!owners.contains { $0.base == addresses[1] })
    #expect(owners.filter { addresses.contains($0.base) }.count == 2)
    while let owner = owners.popLast() { stacks.free(owner.take()) }
    stacks.reclaim(target: .max)
    #expect(configuration.strategy == .linear || stacks.usedSlotCount == 1)
    stacks._checkInvariants()
    #expect(world.simulation.violations.isEmpty)
  }

  @Test
  func `A stack that is dropped unfreed is reported with its address, counted, and stays taken`() throws {
    let world = try World()
    let stacks = try world.stacks(
      StackConfiguration(
        .vmalloc,
        leakHandler: { base in
          lostBase.store(base, ordering: .relaxed)
          lostCount.add(1, ordering: .relaxed)
        }))
    let before = lostCount.load(ordering: .relaxed)
    var base = VirtualAddress(0)
    do {
      let stack = try stacks.allocate(node: nil)
      base = stack.base
      _ = consume stack
    }
    #expect(lostCount.load(ordering: .relaxed) == before + 1)
    #expect(lostBase.load(ordering: .relaxed) == base.rawValue)
    #expect(stacks.lostStackCount == 1)
    let next = try stacks.allocate(node: nil)
    #expect(next.base != base)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 32)
    stacks.free(next)
    stacks._checkInvariants()
    // Neither a freed nor a detached stack is lost.
    try stacks.give(try stacks.allocate(node: nil).detach())
    #expect(stacks.lostStackCount == 1)
  }

  @Test func `A stack of another allocator is not taken, but reported by its own`() throws {
    let world = try World()
    let mine = try world.stacks(StackConfiguration(.vmalloc))
    let other = try World()
    let others = try other.stacks(StackConfiguration(.vmalloc))
    mine.free(try others.allocate(node: nil))
    #expect(mine.cachedStackCount == 0 && mine.liveStackCount == 0)
    #expect(others.lostStackCount == 1)
  }

  @Test
  func `A stack pointer is told to be on a stack, in a guard, in an unused slot, elsewhere, or unaligned`()
    throws
  {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.vmalloc, capacity: 64))
    let stack = try stacks.allocate(node: nil)
    let bounds = StackBounds(base: stack.base, top: stack.top)
    for offset in [16, 4096, 8000, 16384] {
      #expect(stacks.classify(stackPointer: stack.base + offset) == .stack(bounds))
    }
    for offset in [0, -16, -4096, 16 - 16384] {
      #expect(stacks.classify(stackPointer: stack.base + offset) == .stackGuard(bounds), "\(offset)")
    }
    #expect(stacks.classify(address: stack.base) == .stack(bounds))
    #expect(stacks.classify(address: stack.base - 1) == .stackGuard(bounds))
    let next = StackBounds(base: stack.base + 32768, top: stack.top + 32768)
    #expect(stacks.classify(address: stack.top) == .unusedSlot(next))
    #expect(stacks.classify(stackPointer: stack.base + 8) == .unaligned)
    #expect(stacks.classify(stackPointer: stack.base + 128 * 32768) == .elsewhere)
    #expect(stacks.classify(stackPointer: VirtualAddress(0)) == .elsewhere)
    #expect(stacks.threadInfo(stackPointer: stack.base + 5000 / 16 * 16) == stack.threadInfo)
    stacks.free(stack)
    #expect(stacks.classify(stackPointer: bounds.top) == .unusedSlot(bounds))
  }

  @Test func `Linear stack pointers: bounds without a claim`() throws {
    let world = try World()
    let stacks = try world.stacks(StackConfiguration(.linear))
    let stack = try stacks.allocate(node: nil)
    let bounds = StackBounds(base: stack.base, top: stack.top)
    #expect(stacks.classify(stackPointer: stack.top) == .linearMap(bounds))
    #expect(stacks.classify(stackPointer: VirtualAddress(0x1000)) == .elsewhere)
    stacks.free(stack)
  }

  @Test(arguments: StackConfiguration.both)
  func `The boot stack is known, never freed, never looked up as vmalloc, not counted`(
    _ configuration: StackConfiguration
  ) throws {
    let world = try World()
    let stacks = try world.stacks(configuration)
    let lead = configuration.strategy == .vmalloc ? 16384 : 0
    let base = VirtualAddress(0xffff_ff80_0010_0000) + lead
    #expect(throws: ThreadStackError.configuration(.bootStackMisplaced(base + 4096, offBy: 4096))) {
      try stacks.adoptBootStack(at: base + 4096, firstFrame: PageFrame(0x40100))
    }
    try stacks.adoptBootStack(at: base, firstFrame: PageFrame(0x40100))
    let bounds = StackBounds(base: base, top: base + 16384)
    #expect(stacks.classify(stackPointer: base + 16384) == .bootStack(bounds))
    #expect(stacks.page(of: base + 8200) == PageFrame(0x40102))
    #expect(stacks.threadInfo(stackPointer: base + 160) == base)
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 0)
    #expect(throws: ThreadStackError.bootStack(base)) { try stacks.give(base) }
    #expect(throws: ThreadStackError.configuration(.secondBootStack(base))) {
      try stacks.adoptBootStack(at: base + 32768, firstFrame: PageFrame(0x40200))
    }
  }

  @Test func `Errors and the report say their figures in one line`() throws {
    let world = try World(memoryBytes: 1 << 20)
    let stacks = try world.stacks(StackConfiguration(.vmalloc, capacity: 70))
    let stack = try stacks.allocate(node: nil)
    var sink = LineSink()
    stacks.writeReport(to: &sink)
    #expect(
      sink.text
        == "vmalloc stacks of 16 KiB: 1 in use, 0 cached, 0 unmapped, 1 of 70 slots of 32 KiB, node 0: 16 KiB")
    stacks.free(stack)
    #expect(ThreadStackError.slotsExhausted(capacity: 5).description == "all 5 stack slots are in use")
    #expect(
      ThreadStackError.configuration(.phaseOutOfRange(4096, size: 16384, stride: 32768)).description
        == "a phase of 4096 bytes is neither 0 nor in 16384..<32768")
  }
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Frees by address, as C does.
  func give(_ address: VirtualAddress) throws(ThreadStackError) { free(try stack(at: address)) }
}

struct LineSink: TextSink {
  var text = ""
  mutating func write(byte: UInt8) { text.unicodeScalars.append(Unicode.Scalar(byte)) }
}
