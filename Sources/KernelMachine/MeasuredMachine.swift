// What a machine counts, for those who measure. No allocator needs it.

/// A machine that counts what it does: for benchmarks, and for tests of what an operation costs.
public protocol MeasuredMachine: Machine {
  /// What the machine has counted since it started.
  var counters: MachineCounters { get }

  /// Begins to count the cycles of the current CPU, of one measurement at a time; interrupts are off until it ends.
  func startCycles()

  /// The cycles of the current CPU since the last ``startCycles()``; `nil` unless a machine counts them.
  var cyclesSinceStart: Int? { get }
}

extension MeasuredMachine {
  /// Counts nothing.
  public func startCycles() {}

  /// None are counted.
  public var cyclesSinceStart: Int? { nil }
}

/// Event counts, for measurements and for claims such as "without a TLB invalidation".
public struct MachineCounters: Equatable, Sendable {
  /// Instructions retired (0 where the machine cannot count them).
  public var instructions: UInt64
  /// Completed batches of TLB invalidation of kernel addresses.
  public var tlbInvalidations: UInt64
  /// TLB invalidation instructions issued for kernel addresses.
  public var tlbInstructions: UInt64
  /// Locks taken.
  public var lockAcquisitions: UInt64

  /// All zero.
  public init() {
    instructions = 0
    tlbInvalidations = 0
    tlbInstructions = 0
    lockAcquisitions = 0
  }
}
