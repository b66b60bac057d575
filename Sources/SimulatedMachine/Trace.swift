// The calls of each CPU, as a hash and, on request, event by event.

/// One call into the machine.
public struct TraceEvent: Equatable, Sendable {
  /// The kinds of calls and other events.
  public enum Operation: UInt8, Equatable, Sendable {
    case pointer, clear, readEntry, writeEntry, publish, complete, invalidate, currentCPU, currentNode
    case disableInterrupts, restoreInterrupts, lock, unlock, counters
    case load, store, fetch, fault, activate, violation, handOver, finish, replaceEntry, relax, loadExclusive
    case storeExclusive
  }

  /// The CPU.
  public var cpu: Int
  /// The call.
  public var operation: Operation
  /// Its first argument.
  public var first: UInt64
  /// Its second argument, or its result.
  public var second: UInt64
}

/// A running 64-bit hash: equal traces have equal hashes, on every host.
struct TraceHash {
  var value: UInt64 = 0x243f_6a88_85a3_08d3

  mutating func mix(_ word: UInt64) {
    value = ((value &<< 5 | value &>> 59) ^ word) &* 0x9e37_79b9_7f4a_7c15
  }
}
