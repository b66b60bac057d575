// Work that CPUs do at the same time, each its own part.

import KernelProcesses
import KernelStacks

/// What each of some CPUs is to do.
///
/// A value and no closure: a machine whose closures must not outlive their caller's frame hands it to other CPUs by its
/// address, and waits.
public struct CPUWork<Parts: ScenarioParts> {
  let suite: VmallocSuite<Parts>
  let step: VmallocSuite<Parts>.Step

  /// Does one CPU's part.
  ///
  /// - Parameter cpu: the number of the CPU that calls it.
  public func carryOut(_ cpu: Int, in processes: borrowing Processes<Parts>) {
    suite.carryOut(step, cpu, processes)
  }
}
