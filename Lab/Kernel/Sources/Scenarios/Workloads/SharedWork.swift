// Work that several CPUs do at the same time, each its own part, while one thread waits for all of them.
//
//     the thread that asks                   each CPU that is asked
//       begin: a bit for each CPU              isAsked: its bit is set
//       waits until isDone                     does its part
//       waits until isReported                 finish: clears its bit; the last one wakes the thread, then reports
//
// The second wait is a short one, and no `wake` ends it: until the report, the last CPU may be about to wake the thread,
// whose record has to be there.

import Synchronization

/// A set of CPUs, one bit each: the first `count`, of at most 64.
public func firstCPUs(_ count: Int) -> UInt64 { .max >> UInt64(64 - count) }

/// Which CPUs have a part of a piece of work still to do.
///
/// One piece of work at a time. What it consists of is written before ``begin(_:)`` and read after ``isAsked(_:)``.
public struct SharedWork: ~Copyable, Sendable {
  let outstanding = Atomic<UInt64>(0)
  let report = Atomic<UInt64>(1)

  /// No work.
  public init() {}

  /// Asks CPUs for their parts.
  ///
  /// - Parameter cpus: a bit for each CPU; at least one.
  public func begin(_ cpus: UInt64) {
    report.store(0, ordering: .relaxed)
    outstanding.store(cpus, ordering: .releasing)
  }

  /// Whether a CPU has its part still to do.
  public func isAsked(_ cpu: Int) -> Bool {
    outstanding.load(ordering: .acquiring) & 1 << UInt64(cpu) != 0
  }

  /// Takes note that a CPU has done its part.
  ///
  /// - Parameters:
  ///   - cpu: its number.
  ///   - wake: wakes the thread that asked; called for the CPU that comes last.
  public func finish(_ cpu: Int, wake: () -> Void) {
    let left = outstanding.bitwiseAnd(~(1 << UInt64(cpu)), ordering: .acquiringAndReleasing).newValue
    guard left == 0 else { return }
    wake()
    report.store(1, ordering: .releasing)
  }

  /// Whether all CPUs have done their parts.
  public var isDone: Bool { outstanding.load(ordering: .acquiring) == 0 }

  /// Whether the thread that asked will not be woken for this work any more.
  public var isReported: Bool { report.load(ordering: .acquiring) != 0 }
}
