// A small simulated kernel for tests that inspect its state: processes, and accesses on their behalf.

import KernelStacks
import SimulatedMachine
import Testing
import UserPrograms

@testable import KernelProcesses
@testable import Scenarios
@testable import SimulatedScenarios

/// Sets up a machine with a process table, runs `body`, and checks that all memory came back and no rule was broken.
func withProcesses(
  _ options: ScenarioOptions = .small(.isolation, .vmalloc),
  _ body: (borrowing Processes<SimulatedParts>, SimulatedKernel) throws -> Void
) throws {
  let world = try SimulatedWorld(options)
  let objects = try world.makeKernel(options)
  defer { withExtendedLifetime(objects) {} }
  let pointer = objects.processes
  let kernel = SimulatedKernel(
    machine: world.simulation.machine, processes: pointer, console: LineConsole { _ in }, image: world.image,
    lends: options.growth == .lent)
  pointer.pointee.reclaim()
  let free = pointer.pointee.frames.freeFrames
  try body(pointer.pointee, kernel)
  pointer.pointee.expectConsistency()
  kernel.machine.activate(root: nil)
  pointer.pointee.destroyAll()
  pointer.pointee.reclaim()
  #expect(pointer.pointee.frames.freeFrames == free, "frames were lost")
  #expect(world.simulation.violations.isEmpty, "\(world.simulation.violations)")
}

extension SimulatedKernel {
  /// The system calls of a process, in whose address space the CPU now is.
  func calls(_ task: TaskPointer) -> SimulatedSystemCalls {
    enter(task)
    return SimulatedSystemCalls(kernel: self, task: task)
  }

  /// Loads a word as a process.
  func load(_ address: UInt, as task: TaskPointer) -> UInt64 { calls(task).load(address) }

  /// Stores a word as a process.
  func store(_ value: UInt64, at address: UInt, as task: TaskPointer) { calls(task).store(value, at: address) }
}

extension Processes where Parts == SimulatedParts {
  /// Forks with an empty user stack.
  borrowing func fork(_ parent: TaskPointer, in kernel: SimulatedKernel) throws -> TaskPointer {
    try fork(parent, userStackPointer: kernel.image.stackTop)
  }

  /// The frame behind an address of a process.
  borrowing func frame(_ address: UInt, of task: TaskPointer) -> PageFrame? {
    tables(of: task).translate(VirtualAddress(address))?.entry.frame
  }

  /// Ends a process that is not current.
  borrowing func endAndStop(_ task: TaskPointer, status: Int = 0) {
    exit(task, status: status)
    hasStopped(task)
  }
}
