// The number of the CPU is read with interrupts off: otherwise the thread may be on another CPU by the time of its use.

import KernelStacks
import SimulatedMachine
import TestSupport
import Testing

@Suite struct CPUNumberTests {
  typealias Frames = BuddyAllocator<Restless>
  typealias Stacks = ThreadStackAllocator<Restless, Frames, VmallocArea<Simulated>>

  /// Keeps stacks, and the objects that must live as long as their allocator.
  private final class Holder {
    var stacks: [ThreadStackBox] = []
  }

  private final class ThreadStackBox {
    var stack: ThreadStack?
    init(_ stack: consuming ThreadStack) { self.stack = consume stack }
  }

  /// Every way through the allocators that thread code takes with interrupts on.
  private func useEverything(_ stacks: borrowing Stacks, _ configuration: StackConfiguration) throws {
    let held = Holder()
    for count in [4, 60, 200] {
      for index in 0..<count {
        let node: NodeID? = index % 3 == 0 ? nil : NodeID(index % stacks.frames.nodeCount)
        held.stacks.append(ThreadStackBox(try stacks.allocate(node: node)))
      }
      while let box = held.stacks.popLast(), let stack = box.stack.take() { stacks.free(stack) }
      stacks.reclaim(target: 3)
      stacks.age()
      stacks.serviceReclaimRequest()
    }
    stacks.reclaim(target: .max)
    let lost = try stacks.allocate(node: nil)
    let address = lost.base
    stacks.free(lost)
    stacks.quarantine(at: address)
    if configuration.stackGroups > 0 {
      let group = try stacks.makeGroup(limitFrames: 40)
      while let stack = try? stacks.allocate(node: nil, chargedTo: group) {
        held.stacks.append(ThreadStackBox(stack))
      }
      #expect(held.stacks.count > 5)
      while let box = held.stacks.popLast(), let stack = box.stack.take() { stacks.free(stack) }
      try stacks.setLimit(of: group, toFrames: 20)
      try stacks.removeGroup(group)
    }
    if configuration.strategy == .growing {
      let stack = try stacks.allocate(node: nil)
      try stacks.populate(stack, bytes: stack.size)
      var batch = ShrinkBatch()
      stacks.retireDeadPages(of: stack.base, below: stack.top - 64, into: &batch)
      stacks.completeInvalidation(of: &batch)
      stacks.restoreRetiredPages(of: stack.base)
      stacks.retireDeadPages(of: stack.base, below: stack.top - 64, into: &batch)
      stacks.completeInvalidation(of: &batch)
      stacks.releaseRetiredPages(of: stack.base)
      stacks.releaseReserve()
      stacks.fillReserve()
      stacks.free(stack)
    }
    stacks.reclaim(target: .max)
    stacks.reclaim(fromStoppedCPU: 1)
    _ = stacks.frames.fillZeroedPool(budget: 8)
    stacks.frames.drain()
    stacks.frames.drain(cpu: 1)
  }

  @Test(arguments: [StackStrategy.linear, .vmalloc, .growing])
  func `No allocator asks for the number of the CPU with interrupts on`(strategy: StackStrategy) throws {
    for nodeCount in 1...2 {
      let banks = (0..<nodeCount).map {
        MemoryBank(start: PhysicalAddress(UInt(1 << 30 + $0 << 28)), byteCount: 8 << 20, node: NodeID($0))
      }
      let simulation = try Simulation(SimulationConfiguration(memory: banks, cpuCount: 2))
      let reads = CPUReads()
      let machine = Restless(simulation.machine, reads)
      var map = PhysicalMemoryMap()
      for bank in banks { try map.addMemory(start: bank.start, byteCount: bank.byteCount, node: bank.node) }
      let metadata = UnsafeMutableRawBufferPointer.allocate(
        byteCount: Frames.metadataByteCount(for: map, cpuCount: 2), alignment: 64)
      defer { metadata.deallocate() }
      let configuration = StackConfiguration(strategy, stackGroups: strategy == .linear ? 0 : 2)
      let stacks = try Stacks(
        configuration, machine: machine,
        frames: Frames(frames: map, metadata: metadata, machine: machine, cpuCount: 2),
        arena: VmallocArea(World.vmallocArea, machine: simulation.machine))
      try useEverything(stacks, configuration)
      #expect(reads.unstable == 0)
      #expect(reads.stable > 500)
      stacks._checkInvariants()
      #expect(simulation.violations.isEmpty)
    }
  }
}
