// A machine that counts CPU numbers read with interrupts on, which may go stale before they are used.

import KernelStacks
import SimulatedMachine

/// The reads of CPU numbers on a restless machine.
package final class CPUReads: @unchecked Sendable {
  /// The number of reads with interrupts on: by the time of its use, the number may be another CPU's.
  package var unstable = 0
  /// The number of reads with interrupts off.
  package var stable = 0

  /// Starts at zero.
  package init() {}
}

/// The simulated machine, which takes note of CPU numbers that can go stale before they are used.
///
/// A number that is only a hint, such as which of several records to begin with, has to be asked for by ``Machine/currentNode``
/// or with interrupts off too.
package struct Restless: ForwardingMachine {
  package let base: Simulated
  let reads: CPUReads

  /// - Parameter reads: counts the reads.
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
