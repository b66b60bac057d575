// Waits for spin locks, by the names of the locks: which lock it is that CPUs wait for.

import KernelStacks

/// Waits for spin locks.
public struct LockWaits: Sendable {
  /// How often a CPU found a lock taken.
  public var count: Int
  /// How long all such waits were together, in nanoseconds.
  public var nanoseconds: Int

  /// Makes a count; none by default.
  public init(count: Int = 0, nanoseconds: Int = 0) {
    self.count = count
    self.nanoseconds = nanoseconds
  }
}

/// The waits for all locks, those of one name together.
public struct LockWaitTable: Sendable {
  private struct Row {
    var name: StaticString = "otherLocks"
    var waits = LockWaits()
  }
  // The first row is that of locks without a name, or without a row.
  private var rows = InlineArray<16, Row>(repeating: Row())
  private var count = 1
  /// The waits for all locks.
  public private(set) var total = LockWaits()

  /// No waits.
  public init() {}

  /// Adds waits for a lock.
  ///
  /// - Parameter name: one place in memory for each name; `nil` if the lock has none.
  public mutating func add(_ waits: LockWaits, for name: StaticString?) {
    let row = row(of: name)
    rows[row].waits.count += waits.count
    rows[row].waits.nanoseconds += waits.nanoseconds
    total.count += waits.count
    total.nanoseconds += waits.nanoseconds
  }

  /// Takes off what an earlier table has.
  public mutating func subtract(_ earlier: Self) {
    for row in 0..<earlier.count {
      let waits = earlier.rows[row].waits
      let name = row == 0 ? nil : earlier.rows[row].name
      add(LockWaits(count: -waits.count, nanoseconds: -waits.nanoseconds), for: name)
    }
  }

  /// Calls `body` with each name that has waits.
  public func visit(_ body: (StaticString, LockWaits) -> Void) {
    for row in 0..<count where rows[row].waits.count > 0 { body(rows[row].name, rows[row].waits) }
  }

  private mutating func row(of name: StaticString?) -> Int {
    guard let name else { return 0 }
    for row in 1..<count where rows[row].name.utf8Start == name.utf8Start { return row }
    guard count < rows.count else { return 0 }
    rows[count].name = name
    count += 1
    return count - 1
  }
}

extension JSONWriter {
  /// Writes the waits for locks: `"lockWaits":{"processTable":{"waits":…,"nanoseconds":…},…}`.
  mutating func field(_ key: StaticString, _ table: LockWaitTable) {
    beginObject(key)
    table.visit { name, waits in
      beginObject(name)
      field("waits", waits.count)
      field("nanoseconds", waits.nanoseconds)
      endObject()
    }
    endObject()
  }
}
