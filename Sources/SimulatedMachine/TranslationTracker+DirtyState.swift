// Dirty state in last-level entries, as CPUs keep it (FEAT_HAFDBS).
//
// A store through an entry that is writable-clean makes it dirty, at once and atomically, in what the entry is by then.
// What can go wrong is modelled at its worst:
//
//   - A CPU that has cached the dirty entry does not look again. After software has made the entry clean without an
//     invalidation, a store may leave it clean: found at every such store, and done or not as the seed decides.
//   - The update is seen by those who are ordered after the store: other CPUs after the storing one has released a lock,
//     everybody after it has published. Before, a load of the entry finds it dirty or still clean, by seed.

import KernelMachine
import SeededRandom

/// An entry that was made dirty, and how far this is known.
struct UnorderedUpdate {
  var cpu: Int
  /// Whether the CPU has released a lock since: others have taken it before they look.
  var isReleased = false
}

extension TranslationTracker {
  /// Whether an entry lets through a store, which may make it dirty.
  func isStoreAllowed(_ entry: PageTableEntry) -> Bool {
    entry.isWritable || tracksDirtyPages && !entry.isDirty
  }

  /// Does what a store does to the entry that it went through.
  func updateDirtyState(_ request: TranslationRequest, seed: UInt64) {
    guard let (location, level) = leafLocation(request) else { return }
    let value = memory[word: location]
    let entry = PageTableEntry(rawValue: value)
    guard entry.isValid, !entry.isDirty else { return }
    let key = Self.staleKey(request.space, level, request.address)
    for (position, item) in (stale[key] ?? []).enumerated()
    where item.entry == location && Self.haveSameOutput(item.value, Self.walked(value, level))
      && PageTableEntry(rawValue: item.value).isWritable
    {
      if !item.wasReported {
        stale[key]![position].wasReported = true
        find(
          .dirtyStateLost,
          "a store went, or could have gone, through a dirty translation while its entry says clean",
          address: request.address, oldFrame: Self.frame(value))
      }
      var choice = SplitMix64(seed: seed ^ item.serial << 8 ^ UInt64(request.cpu))
      if choice.next() & 1 == 0 { return }
    }
    memory[word: location] = entry.writable.rawValue
    unorderedUpdates[location] = UnorderedUpdate(cpu: request.cpu)
  }

  /// Where the entry lies that translates an address, and at which level, as the tables are now.
  private func leafLocation(_ request: TranslationRequest) -> (UInt, Int)? {
    guard var table = spaces[request.space]?.root else { return nil }
    for level in split.rootLevel...3 {
      let location = (table << 12) + AddressSplit.index(request.address, level) * 8
      guard memory.host(location) != nil else { return nil }
      let value = Self.walked(memory[word: location], level)
      guard value != 0 else { return nil }
      guard Self.isTable(value, level) else { return (location, level) }
      table = Self.frame(value)
    }
    return nil
  }

  // MARK: Who sees it

  /// Whether a CPU that loads an entry may not see that it has become dirty.
  func isDirtyUpdateUnordered(at entry: UInt, for cpu: Int) -> Bool {
    guard !unorderedUpdates.isEmpty, let update = unorderedUpdates[entry] else { return false }
    return update.cpu == cpu || !update.isReleased
  }

  /// A CPU has waited for its stores: everybody sees their effects.
  func orderDirtyUpdates(of cpu: Int) {
    if !unorderedUpdates.isEmpty { unorderedUpdates = unorderedUpdates.filter { $0.value.cpu != cpu } }
  }

  /// Everybody is ordered after everything.
  func orderDirtyUpdates() { unorderedUpdates.removeAll() }

  /// A CPU releases a lock: whoever takes it sees the effects of its stores.
  func releaseDirtyUpdates(of cpu: Int) {
    for (entry, update) in unorderedUpdates where update.cpu == cpu {
      unorderedUpdates[entry]!.isReleased = true
    }
  }
}
