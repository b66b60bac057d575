// The call site of a kernel, as the documentation shows it: it compiles and works with the umbrella import alone.

import KernelStacks
import SimulatedMachine
import Testing

private typealias Virt = Simulated
private typealias Stacks = ThreadStackAllocator<Virt, BuddyAllocator<Virt>, VmallocArea<Virt>>
private struct Task: ~Copyable { let id: Int; var stack: ThreadStack? }

private func fork(
  _ task: UnsafeMutablePointer<Task>, id: Int, from stacks: borrowing Stacks
) throws(ThreadStackError) {
  task.initialize(to: Task(id: id, stack: try stacks.allocate(node: nil)))
}

private func reap(_ task: UnsafeMutablePointer<Task>, into stacks: borrowing Stacks) {
  if let stack = task.pointee.stack.take() { stacks.free(stack) }
  task.deinitialize(count: 1)
}

@Suite struct CallSiteTests {
  @Test func `Tasks own their stacks: fork takes one, reap gives it back`() throws {
    let simulation = try Simulation(memoryBytes: 2 << 20)
    var ram = PhysicalMemoryMap()
    for bank in simulation.memoryBanks {
      try ram.addMemory(start: bank.start, byteCount: bank.byteCount, node: bank.node)
    }
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: BuddyAllocator<Virt>.metadataByteCount(for: ram), alignment: 64)
    defer { memory.deallocate() }

    let stacks = try Stacks(
      StackConfiguration(.vmalloc, size: 20 << 10), machine: simulation.machine,
      frames: BuddyAllocator(frames: ram, metadata: memory, machine: simulation.machine),
      arena: VmallocArea(0xffff_ff80_0800_0000..<0xffff_ffbc_0000_0000, machine: simulation.machine))

    let tasks = UnsafeMutablePointer<Task>.allocate(capacity: 20)
    defer { tasks.deallocate() }
    for id in 0..<20 { try fork(tasks + id, id: id, from: stacks) }
    #expect(stacks.kernelStackKiB(on: NodeID(0)) == 20 * 20)
    for id in 0..<20 {
      #expect(tasks[id].id == id)
      reap(tasks + id, into: stacks)
    }
    #expect(stacks.liveStackCount == 0)
    #expect(simulation.violations.isEmpty)
  }
}
