// Waits for locks are counted by name, and none is lost.

import Scenarios
import Testing

@Suite struct LockWaitTests {
  private func counts(_ table: LockWaitTable) -> [String: Int] {
    var counts: [String: Int] = [:]
    table.visit { name, waits in counts["\(name)"] = waits.count }
    return counts
  }

  // Names are told apart by their places in memory.
  private static let first: StaticString = "first"
  private static let second: StaticString = "second"

  @Test func `Waits of one name are added up`() {
    var table = LockWaitTable()
    table.add(LockWaits(count: 2, nanoseconds: 30), for: Self.first)
    table.add(LockWaits(count: 1, nanoseconds: 5), for: Self.second)
    table.add(LockWaits(count: 4, nanoseconds: 7), for: Self.first)
    table.add(LockWaits(count: 8, nanoseconds: 1), for: nil)
    #expect(counts(table) == ["first": 6, "second": 1, "otherLocks": 8])
    #expect(table.total.count == 15)
    #expect(table.total.nanoseconds == 43)
  }

  @Test func `What an earlier table has is taken off by name`() {
    var before = LockWaitTable()
    before.add(LockWaits(count: 2, nanoseconds: 30), for: Self.first)
    before.add(LockWaits(count: 3, nanoseconds: 4), for: nil)
    var after = before
    after.add(LockWaits(count: 5, nanoseconds: 6), for: Self.second)
    after.add(LockWaits(count: 1, nanoseconds: 2), for: nil)
    after.subtract(before)
    #expect(counts(after) == ["second": 5, "otherLocks": 1])
    #expect(after.total.count == 6)
    #expect(after.total.nanoseconds == 8)
  }

  @Test func `Waits for locks beyond the last row are those of others`() {
    var table = LockWaitTable()
    let names: [StaticString] = [
      "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q",
    ]
    for name in names { table.add(LockWaits(count: 1, nanoseconds: 1), for: name) }
    #expect(table.total.count == names.count)
    #expect(counts(table)["otherLocks"] == 2)
    #expect(counts(table)["o"] == 1)
  }
}
