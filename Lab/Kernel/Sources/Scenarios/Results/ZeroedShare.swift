// How much of the memory that has to read as zero had been cleared before it was asked for.

import KernelProcesses
import KernelStacks

/// Counts of frames that have to read as zero, at the beginning of a run.
///
/// Frames of new stacks, of page tables and of tables are among them. Those of stacks that come from a cache are not: they
/// have been in use since, and are cleared when they are handed out again.
struct ZeroedShare {
  private let asked: Int
  private let clearedLate: Int

  init<Parts: ScenarioParts>(_ processes: borrowing Processes<Parts>) {
    asked = processes.frameWatch.pointee.clearedFrames
    clearedLate = Self.clearedLate(processes)
  }

  /// The share since then of those that idle CPUs had cleared; 1,000 if none was asked for.
  func permille<Parts: ScenarioParts>(_ processes: borrowing Processes<Parts>) -> Int {
    let all = processes.frameWatch.pointee.clearedFrames - asked
    let late = Self.clearedLate(processes) - clearedLate
    return all == 0 ? 1000 : (all - late) * 1000 / all
  }

  private static func clearedLate<Parts: ScenarioParts>(_ processes: borrowing Processes<Parts>) -> Int {
    processes.frameWatch.pointee.framesClearedByStacks + processes.frameAllocator.framesClearedOnRequest
  }
}
