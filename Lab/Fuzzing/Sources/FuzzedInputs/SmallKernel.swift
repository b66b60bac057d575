// A kernel on a simulated machine of 2 MiB, made once and used for many inputs: making one takes longer than most inputs do.
// Each input has to leave its memory as it found it, or the input has shown a mistake.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

/// Processes on a machine with one CPU.
final class SmallKernel {
  let simulation: Simulation
  let machine: Simulated
  private let kernel: HostedKernel<Simulated>
  private let metadata: UnsafeMutableRawBufferPointer
  /// The free frames and the bytes of kernel stacks when there is no process.
  private let (freeFrames, stackBytes): (Int, Int)

  private init(_ strategy: StackStrategy) {
    let start = PhysicalAddress(0x4000_0000)
    let byteCount = 2 << 20
    do {
      simulation = try Simulation(
        SimulationConfiguration(memory: [MemoryBank(start: start, byteCount: byteCount)]))
      machine = simulation.machine
      var map = PhysicalMemoryMap()
      try map.addMemory(start: start, byteCount: byteCount)
      metadata = .allocate(
        byteCount: BuddyAllocator<Simulated>.metadataByteCount(for: map, cpuCount: 1), alignment: 64)
      kernel = try HostedKernel(
        machine: machine,
        frames: try BuddyAllocator(frames: map, metadata: metadata, machine: machine, cpuCount: 1),
        arena: VmallocArea(try AddressLayout(), machine: machine),
        stacks: StackConfiguration(strategy, capacity: strategy == .linear ? nil : 128), memory: map,
        // As few address-space identifiers as there may be, so that they are handed out again and again.
        identifierBits: 3)
    } catch { fatalError("a small kernel cannot be made: \(error)") }
    let processes = kernel.processes
    processes.pointee.settle()
    freeFrames = processes.pointee.frames.freeFrames
    stackBytes = processes.pointee.kernelStackBytes
  }

  var processes: UnsafeMutablePointer<Processes<HostedParts<Simulated>>> { kernel.processes }

  // One input is judged at a time.
  nonisolated(unsafe) private static var kernels: [StackStrategy: SmallKernel] = [:]
  // Kernels that show a mistake: they could not give back what they have.
  nonisolated(unsafe) private static var broken: [SmallKernel] = []

  /// Hands out the kernel with a kind of stack, and finds what `body` has left behind in it.
  static func use(_ strategy: StackStrategy, _ body: (SmallKernel) throws(Finding) -> Void) throws(Finding) {
    let kernel = kernels[strategy] ?? SmallKernel(strategy)
    // What a mistake has done to a kernel is no matter for other inputs.
    kernels[strategy] = nil
    do throws(Finding) {
      try body(kernel)
      try kernel.expectNothingLeft()
    } catch {
      broken.append(kernel)
      throw error
    }
    kernels[strategy] = kernel
  }

  /// Ends all processes.
  func destroyAll() {
    machine.activate(root: nil)
    processes.pointee.destroyAll()
  }

  private func expectNothingLeft() throws(Finding) {
    processes.pointee.endWatch()
    destroyAll()
    processes.pointee.settle()
    let free = processes.pointee.frames.freeFrames
    try require(free == freeFrames, "all frames come back: \(free) are free, \(freeFrames) were")
    try require(processes.pointee.kernelStackBytes == stackBytes, "all kernel stacks come back")
    processes.pointee.stacks._checkInvariants()
    processes.pointee.frameAllocator._checkInvariants()
    try expectNoViolation()
  }

  /// Finds a broken rule of the machine.
  func expectNoViolation() throws(Finding) {
    guard let first = simulation.violations.first else { return }
    throw Finding(description: "no rule of the machine is broken: \(first)")
  }
}
