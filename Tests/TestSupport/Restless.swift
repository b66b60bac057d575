// A machine on which code that has interrupts on is never sure of its CPU.

import KernelStacks
import SimulatedMachine

/// What a restless machine has seen.
package final class CPUReads: @unchecked Sendable {
  /// How often a CPU's number was asked for with interrupts on: by then, or when it is used, it may be another CPU's.
  package var unstable = 0
  /// How often it was asked for with interrupts off.
  package var stable = 0

  /// Nothing yet.
  package init() {}
}

/// The simulated machine, which takes note of CPU numbers that can go stale before they are used.
///
/// A number that is only a hint, such as which of several records to begin with, has to be asked for by ``Machine/currentNode``
/// or with interrupts off too.
package struct Restless: ForwardingMachine {
  package let base: Simulated
  let reads: CPUReads

  /// - Parameter reads: what takes note.
  package init(_ base: Simulated, _ reads: CPUReads) {
    self.base = base
    self.reads = reads
  }

  package var currentCPU: Int {
    if base.simulation.interruptsEnabled { reads.unstable += 1 } else { reads.stable += 1 }
    return base.currentCPU
  }

  package func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {
    base.invalidate(pages, in: space, scope: scope)
  }
}
