// An impossible machine is refused with a typed error.

import KernelMachine
import SimulatedMachine
import Testing

@Suite struct ConfigurationTests {
  private func bank(_ start: UInt, _ byteCount: Int, node: Int = 0) -> MemoryBank {
    MemoryBank(start: PhysicalAddress(start), byteCount: byteCount, node: NodeID(node))
  }

  @Test func `Nonsense is refused`() {
    let good = bank(1 << 30, 1 << 20)
    func expect(
      _ error: SimulationError, _ memory: [MemoryBank], cpus: Int = 1, nodes: [Int] = [], bits: Int = 39,
      root: PageFrame? = nil
    ) {
      #expect(throws: error) {
        try Simulation(
          SimulationConfiguration(
            memory: memory, cpuCount: cpus, nodeOfCPU: nodes.map { NodeID($0) }, virtualAddressBits: bits,
            kernelRoot: root))
      }
    }
    expect(.noMemory, [])
    for wrong in [
      bank(1 << 30, 0), bank(1 << 30, -4096), bank(1 << 30, 100), bank(5, 4096), bank(1 << 38, 4096),
    ] {
      expect(.invalidBank(wrong), [wrong])
    }
    let overlapping = bank((1 << 30) + 4096, 1 << 20)
    expect(.unorderedBanks(good, overlapping), [good, overlapping])
    expect(.unorderedBanks(good, bank(0, 4096)), [good, bank(0, 4096)])
    expect(.unknownNode(NodeID(1)), [bank(1 << 30, 4096, node: 1)])
    expect(.unknownNode(NodeID(2)), [good], nodes: [2])
    expect(.invalidCPUCount(0), [good], cpus: 0)
    expect(.invalidCPUCount(65), [good], cpus: 65)
    expect(.nodeCountMismatch(nodes: 2, cpus: 1), [good], nodes: [0, 0])
    expect(.invalidVirtualAddressBits(42), [good], bits: 42)
    expect(.rootOutsideMemory(PageFrame(1)), [good], root: PageFrame(1))
  }

  @Test func `Runs need a body for each of some CPUs`() throws {
    let simulation = try Simulation(memoryBytes: 4096, cpuCount: 2)
    #expect(throws: SimulationError.invalidBodyCount(bodies: 0, cpus: 2)) { try simulation.run([]) }
    #expect(throws: SimulationError.invalidBodyCount(bodies: 3, cpus: 2)) {
      try simulation.run(Array(repeating: { _ in }, count: 3))
    }
  }

  @Test(arguments: [39, 48]) func `The layout is that of a kernel`(bits: Int) throws {
    let simulation = try Simulation(
      SimulationConfiguration(
        memory: [bank(1 << 30, 1 << 20), bank(2 << 30, 1 << 20, node: 1)], cpuCount: 3,
        virtualAddressBits: bits))
    let machine = simulation.machine
    #expect(machine.linearMapOffset == (bits == 39 ? 0xffff_ffc0_0000_0000 : 0xffff_8000_0000_0000))
    #expect(machine.virtualAddressBits == bits)
    #expect(!simulation.memoryBanks.contains { $0.start <= machine.kernelRoot && machine.kernelRoot < $0.end })
    #expect((0..<512).allSatisfy { machine.readEntry(at: machine.kernelRoot + $0 * 8).isEmpty })
    #expect((0..<3).map { simulation.onCPU($0) { $0.currentNode.index } } == [0, 1, 0])
  }

  @Test func `Memory starts as garbage unless asked otherwise`() throws {
    let garbage = try Simulation(memoryBytes: 12 << 10)
    for page in 0..<3 {
      let word = garbage.machine.pointer(to: PhysicalAddress(1 << 30) + page * pageSize).load(as: UInt64.self)
      #expect(PageTableEntry(rawValue: word).isValid)
    }
    let zero = try Simulation(
      SimulationConfiguration(memory: [bank(1 << 30, 4096)], initialContents: .zero))
    #expect(zero.machine.pointer(to: PhysicalAddress(1 << 30)).load(as: UInt64.self) == 0)
  }

  @Test func `Invalidations are counted for the kernel only`() throws {
    let machine = try Simulation(memoryBytes: 4096).machine
    let base = SmallKernel.vmalloc
    machine.invalidate(VirtualAddressRange(base, byteCount: 3 * pageSize), in: .kernel, scope: .leaves)
    machine.invalidate(.everything, in: .kernel, scope: .tablesAndLeaves)
    machine.invalidate(.everything, in: AddressSpaceID(4), scope: .leaves)
    #expect(machine.counters.tlbInvalidations == 2)
    #expect(machine.counters.tlbInstructions == 4)
    #expect(machine.counters.instructions == 0)
  }
}
