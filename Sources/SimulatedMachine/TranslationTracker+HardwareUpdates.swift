// What updates of entries by CPUs have in common: where they go, and who sees them.
//
// A CPU updates an entry in one atomic step, and the update is no store of the program. So loads of the entry see it, or miss
// it by seed, until a CPU that caused it has completed its accesses (R_MKHJS).

import KernelMachine
import SeededRandom

/// An update that loads of the entry need not see yet.
struct UnorderedUpdate {
  /// What such loads may find.
  let older: UInt64
  /// The CPUs whose accesses have come by the entry since, none of which has waited.
  var cpus: Set<Int>
}

extension TranslationTracker {
  /// The location and level of the entry that translates an address, by the tables as they are now.
  func leafLocation(_ request: TranslationRequest) -> (UInt, Int)? {
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

  /// Finds out whether a CPU may have cached an entry as it was before software took a state of it back, and so access
  /// memory without an update; reports it, once.
  ///
  /// - Parameter hasState: whether a stale value has the state.
  /// - Returns: whether this CPU does, by seed.
  func usesCached(
    _ request: TranslationRequest, _ location: UInt, _ level: Int, rule: Violation.Rule, seed: UInt64,
    _ hasState: (UInt64) -> Bool
  ) -> Bool {
    let value = memory[word: location]
    let key = Self.staleKey(request.space, level, request.address)
    for (position, item) in (stale[key] ?? []).enumerated()
    where item.entry == location && Self.haveSameOutput(item.value, Self.walked(value, level))
      && hasState(item.value)
    {
      if !item.wasReported {
        stale[key]![position].wasReported = true
        find(
          rule,
          "the \(request.access) went, or could have gone, through a cached translation that sets no state",
          address: request.address, oldFrame: Self.frame(value))
      }
      var choice = SplitMix64(seed: seed ^ item.serial << 8 ^ UInt64(request.cpu))
      if choice.next() & 1 == 0 { return true }
    }
    return false
  }

  /// Records that an entry was updated, by an access of a CPU or by speculation.
  func noteUpdate(of entry: UInt, from older: UInt64, by cpu: Int?) {
    let cpus: Set<Int> = cpu.map { [$0] } ?? []
    let first = unorderedUpdates[entry] ?? UnorderedUpdate(older: older, cpus: [])
    unorderedUpdates[entry] = UnorderedUpdate(older: first.older, cpus: first.cpus.union(cpus))
  }

  // MARK: Visibility

  /// What a load of an entry may find instead of its newest value; `nil` if it finds that.
  func olderValue(at entry: UInt) -> UInt64? {
    unorderedUpdates.isEmpty ? nil : unorderedUpdates[entry]?.older
  }

  /// Records that an access has found an entry's newest value: so do all later loads.
  func noteSeen(_ entry: UInt) { unorderedUpdates[entry] = nil }

  /// Makes the updates of a CPU that has completed its accesses visible to all CPUs, and those that no access caused.
  func orderUpdates(of cpu: Int) {
    if !unorderedUpdates.isEmpty {
      unorderedUpdates = unorderedUpdates.filter { !$0.value.cpus.isEmpty && !$0.value.cpus.contains(cpu) }
    }
  }

  /// Makes all updates visible to all CPUs.
  func orderUpdates() { unorderedUpdates.removeAll() }
}
