// A simulated machine with the allocators that the kernel makes at boot.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

/// The reason why a scenario cannot be run on a simulated machine.
public enum SimulatedRunError: Error, CustomStringConvertible {
  /// The machine cannot be made.
  case simulation(SimulationError)
  /// The memory cannot be described.
  case memory(PhysicalMemoryError)
  /// The address layout is not supported.
  case layout(AddressLayoutError)
  /// The stack allocator cannot be made.
  case stacks(ThreadStackError)
  /// The process table cannot be made.
  case processes(ProcessTableError)

  /// The error in one line.
  public var description: String {
    switch self {
    case .simulation(let error): error.description
    case .memory(let error): text(of: error)
    case .layout(let error): text(of: error)
    case .stacks(let error): text(of: error)
    case .processes(let error): text(of: error)
    }
  }

  private func text<Problem: TextDescribable>(of problem: Problem) -> String { problem.description }
}

/// A handle to the allocators of a simulated kernel.
typealias SimulatedParts = HostedParts<Simulated>

/// A simulated machine and its memory map, with records of the buddy allocator outside that memory.
final class SimulatedWorld {
  let simulation: Simulation
  private(set) var map = PhysicalMemoryMap()
  private let metadata: UnsafeMutableRawBufferPointer
  private let code: UnsafeMutableRawBufferPointer

  init(_ options: ScenarioOptions) throws(SimulatedRunError) {
    let perNode = options.memoryBytes / options.nodeCount / pageSize * pageSize
    var banks: [MemoryBank] = []
    for node in 0..<options.nodeCount {
      let start = PhysicalAddress(0x4000_0000) + node * perNode
      banks.append(MemoryBank(start: start, byteCount: perNode, node: NodeID(node)))
      do {
        try map.addMemory(start: start, byteCount: perNode, node: NodeID(node))
      } catch { throw .memory(error) }
    }
    do {
      simulation = try Simulation(
        SimulationConfiguration(
          memory: banks, cpuCount: options.cpuCount, seed: options.seed,
          virtualAddressBits: options.virtualAddressBits,
          // Filling a large memory with garbage takes longer than the scenario.
          initialContents: options.memoryBytes <= 32 << 20 ? .garbage : .zero,
          updatesAccessFlags: options.growth == .lent))
    } catch { throw .simulation(error) }
    metadata = .allocate(
      byteCount: BuddyAllocator<Simulated>.metadataByteCount(for: map, cpuCount: options.cpuCount),
      alignment: 64)
    code = .allocate(byteCount: 64, alignment: 8)
    code.initializeMemory(as: UInt8.self, repeating: 0x5a)
  }

  deinit {
    metadata.deallocate()
    code.deallocate()
  }

  var image: ProgramImage { SimulatedProgram.image(code: UnsafeRawBufferPointer(code)) }

  /// Makes the buddy allocator over all memory.
  ///
  /// To be called once.
  func makeFrames() throws(SimulatedRunError) -> BuddyAllocator<Simulated> {
    do {
      let machine = simulation.machine
      return try BuddyAllocator(frames: map, metadata: metadata, machine: machine, cpuCount: machine.cpuCount)
    } catch { throw .memory(error) }
  }

  /// Makes the vmalloc area of the layout in the options.
  ///
  /// To be called once.
  func makeArena(_ options: ScenarioOptions) throws(SimulatedRunError) -> VmallocArea<Simulated> {
    do {
      return VmallocArea(
        try AddressLayout(virtualAddressBits: options.virtualAddressBits), machine: simulation.machine)
    } catch { throw .layout(error) }
  }

  /// Makes the allocators of a kernel with the options' stacks, and its processes.
  ///
  /// To be called once.
  func makeKernel(_ options: ScenarioOptions) throws(SimulatedRunError) -> HostedKernel<Simulated> {
    let frames = try makeFrames()
    let arena = try makeArena(options)
    do {
      return try HostedKernel(
        machine: simulation.machine, frames: frames, arena: arena,
        stacks: StackConfiguration(options.strategy, size: options.stackSize), memory: map,
        // The fewest that a CPU may have, so that ASIDs roll over often.
        identifierBits: 8)
    } catch {
      switch error {
      case .stacks(let error): throw .stacks(error)
      case .processes(let error): throw .processes(error)
      }
    }
  }
}
