// Dirty state in last-level entries, as CPUs keep it (FEAT_HAFDBS).
//
// A store through an entry that is writable-clean makes it dirty, at once and atomically, whatever the entry is by then.
// The worst case is modelled:
//
//   - A CPU that has cached the dirty entry does not read it again. After software has made the entry clean without an
//     invalidation, a store may leave it clean: every such store is reported, and the seed decides whether it does.
//   - The update is no store of the program. A load of the entry, on the same CPU too, is ordered after it only by a barrier
//     for loads and stores that a CPU which has stored through the entry has executed since: not by one for stores, not by
//     a lock. Before that, the load finds the entry dirty or still clean, by seed; once found dirty, it stays dirty.
//
// Source: Arm Architecture Reference Manual (DDI 0487), D8.5.3 R_PLLLM, R_MKHJS.

import KernelMachine
import SeededRandom

/// An entry that was made dirty, which loads need not see yet.
struct UnorderedUpdate {
  /// The CPUs that have stored through it, none of which has waited since.
  var cpus: Set<Int>
}

extension TranslationTracker {
  /// Whether an entry allows a store, which may make it dirty.
  func isStoreAllowed(_ entry: PageTableEntry) -> Bool {
    entry.isWritable || tracksDirtyPages && !entry.isDirty
  }

  /// Applies the effect of a store on the entry that it went through.
  func updateDirtyState(_ request: TranslationRequest, seed: UInt64) {
    guard let (location, level) = leafLocation(request) else { return }
    let value = memory[word: location]
    let entry = PageTableEntry(rawValue: value)
    guard entry.isValid else { return }
    if entry.isDirty {
      unorderedUpdates[location]?.cpus.insert(request.cpu)
      return
    }
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
    unorderedUpdates[location] = UnorderedUpdate(cpus: [request.cpu])
  }

  /// The location and level of the entry that translates an address, by the tables as they are now.
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

  // MARK: Visibility

  /// Whether a load of an entry may not see that it has become dirty.
  func isDirtyUpdateUnordered(at entry: UInt) -> Bool {
    !unorderedUpdates.isEmpty && unorderedUpdates[entry] != nil
  }

  /// Records that a load has found an entry dirty: so do all later loads.
  func noteSeenDirty(_ entry: UInt) { unorderedUpdates[entry] = nil }

  /// Makes the updates of a CPU that has completed its accesses visible to all CPUs.
  func orderDirtyUpdates(of cpu: Int) {
    if !unorderedUpdates.isEmpty {
      unorderedUpdates = unorderedUpdates.filter { !$0.value.cpus.contains(cpu) }
    }
  }

  /// Makes all updates visible to all CPUs.
  func orderDirtyUpdates() { unorderedUpdates.removeAll() }
}
