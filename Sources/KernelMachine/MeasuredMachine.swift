// What a machine counts, for those who measure. No allocator needs it.

/// A machine that counts what it does: for benchmarks, and for tests of what an operation costs.
public protocol MeasuredMachine: Machine {
  /// What the machine has counted since it started.
  var counters: MachineCounters { get }
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
