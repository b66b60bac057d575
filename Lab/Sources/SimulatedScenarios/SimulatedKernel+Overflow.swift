// Overflows on the simulated machine: an access below the stack, and the kernel's response.

import KernelProcesses
import KernelStacks
import Scenarios
import SimulatedMachine

/// The outcome of an overflow.
enum SimulatedOverflow {
  /// The guard was hit: the task ends.
  case hitGuard
  /// The end marker was overwritten, and no fault was taken.
  case damagedMarker
}

extension SimulatedKernel {
  /// Writes the end marker of a new stack, if it has one.
  func placeEndMarker(_ base: VirtualAddress) {
    guard let marker = processes.pointee.stacks.geometry.endMarker(base: base) else { return }
    marker.place(at: bytes(of: marker))
  }

  /// Overflows a stack on purpose, after taking memory that only the registry records.
  func leaveStack(_ base: VirtualAddress, _ registry: inout TaskRegistry) -> SimulatedOverflow {
    processes.pointee.prepareOverflow(of: &registry)
    let marker = processes.pointee.stacks.geometry.endMarker(base: base)
    do throws(SimulatedFault) {
      try machine.store(UInt64(0), to: marker.map { $0.address + 8 } ?? base - 8)
    } catch { return .hitGuard }
    precondition(marker != nil, "the guard below a stack is mapped")
    return .damagedMarker
  }

  /// Checks the end marker of a stack whose task leaves the CPU; a damaged one ends the kernel.
  func checkEnd(of base: VirtualAddress?) {
    guard let base, let marker = processes.pointee.stacks.geometry.endMarker(base: base) else { return }
    if !marker.isIntact(at: bytes(of: marker)) { hasPanicked = true }
  }

  private func bytes(of marker: StackEndMarker) -> UnsafeMutableRawPointer {
    machine.pointer(to: PhysicalAddress(marker.address.rawValue - machine.linearMapOffset))
  }
}
