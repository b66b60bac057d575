// The ASIDs under which the kernel's own entries may be cached.
//
// A CPU tags the entries that it caches of the kernel's half, except global last-level ones, with the current ASID (see
// TLBInstruction). The worst case: a valid entry has been cached under every ASID that was current on some CPU since it
// became valid, also under 0, the ASID of CPUs that walk no user space.
//
//     changes of user spaces     0     1     2     3     4          time is counted in these
//     ASID 5                     |-----------|                      lastUse = 2 when it is left
//     ASID 7                                 |-----------> (now)
//     a table is linked                |                            validSince = 1: under 0, 5 and 7

import KernelMachine

/// An entry that bears ASIDs.
struct TaggedEntry {
  /// The number of changes of user spaces when it became valid.
  var validSince: Int
  /// The ASIDs under which an equal value was cached before, if no invalidation has dropped it.
  var inherited: Set<UInt16> = []
}

extension TranslationTracker {
  /// Whether a CPU caches a valid value of the kernel's half under an ASID.
  private func bearsASID(_ value: UInt64, _ space: UInt16, _ level: Int) -> Bool {
    space == 0 && (Self.isTable(value, level) || value & 1 << 11 != 0)
  }

  /// Records that a value becomes valid; an equal one that is still stale was cached before.
  func noteValid(_ value: UInt64, at entry: UInt, _ space: UInt16, _ level: Int, _ key: UInt64) {
    guard bearsASID(value, space, level) else { return }
    let former = stale[key]?.first { $0.entry == entry && $0.value == value }
    taggedEntries[entry] = TaggedEntry(validSince: changes, inherited: former?.asids ?? [])
  }

  /// The ASIDs that a value which is no longer valid may be cached under; `nil` if it bears none of its own.
  func asids(of value: UInt64, at entry: UInt, _ space: UInt16, _ level: Int) -> Set<UInt16>? {
    guard bearsASID(value, space, level) else { return nil }
    let known = taggedEntries.removeValue(forKey: entry) ?? TaggedEntry(validSince: changes)
    let users = Set(asidUsers.keys)
    return known.inherited.union(users).union(lastUse.filter { $0.value >= known.validSince }.keys)
  }

  /// Records that a CPU leaves an ASID.
  func leave(_ asid: UInt16) {
    lastUse[asid] = changes
    changes += 1
    asidUsers[asid] = asidUsers[asid]! > 1 ? asidUsers[asid]! - 1 : nil
  }

  /// Records that a CPU begins to use an ASID: it may cache stale values that a walker can still fetch under this one.
  func come(to asid: UInt16) {
    asidUsers[asid, default: 0] += 1
    for key in taggedKeys {
      for (position, item) in stale[key]!.enumerated()
      where item.asids != nil && canBeFetched(item, Self.level(ofKey: key)) {
        stale[key]![position].asids!.insert(asid)
      }
    }
  }

  /// Whether a walker could still fetch a stale value: one that was not published over, or that lies in a table which a
  /// stale table entry leads to.
  func canBeFetched(_ item: Stale, _ level: Int) -> Bool {
    if let items = pending[item.entry], items.contains(where: { Self.walked($0.value, level) == item.value }) {
      return true
    }
    guard let table = placements[item.entry >> 12], !table.isLinked else { return false }
    return Self.walked(memory[word: item.entry], level) == item.value
  }
}
