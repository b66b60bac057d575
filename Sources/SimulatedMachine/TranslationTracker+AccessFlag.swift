// The access flag of last-level entries, as CPUs set it (FEAT_HAFDBS).
//
// The worst case is modelled:
//
//   - A CPU may set the flag of any valid entry that its walkers can reach, whether or not the program touches the page. That
//     is decided when an entry is loaded or compared; a plain store over an untouched entry counts as one that came after
//     a CPU had set the flag and cached the entry.
//   - An untouched entry that is replaced in one atomic step was in no TLB, and leaves nothing stale.
//   - A CPU that has cached an entry does not read it again. After software has cleared the flag without an invalidation,
//     an access may leave it clear: every such access is reported, and the seed decides whether it does.
//   - The update is no store of the program: a load of the entry, on the same CPU too, may miss it until a CPU that caused
//     it has completed its accesses. A compare-and-swap never misses it.
//
// Source: Arm Architecture Reference Manual (DDI 0487), D8.5.1 R_XFXTY, R_LFTXR, R_LHQRX; D8.5.3 R_MKHJS.

import KernelMachine
import SeededRandom

extension TranslationTracker {
  static let accessFlag: UInt64 = 1 << 10

  /// Whether a last-level value is valid and untouched: in no TLB, where CPUs set the flag.
  func isUntouched(_ value: UInt64, _ level: Int) -> Bool {
    updatesAccessFlags && value != 0 && !Self.isTable(value, level) && value & Self.accessFlag == 0
  }

  /// What a CPU may have cached of a value that leaves the tables by a plain store.
  func cachedValue(_ value: UInt64, _ level: Int) -> UInt64 {
    isUntouched(value, level) ? value | Self.accessFlag : value
  }

  /// Replaces an entry if it has the expected value.
  func replace(_ expected: UInt64, with newValue: UInt64, at entry: UInt, by cpu: Int) -> Bool {
    guard memory[word: entry] == expected else { return false }
    write(newValue, at: entry, by: cpu, isAtomic: true)
    return true
  }

  /// Whether an entry is valid, untouched, and can be walked.
  func isUntouched(at entry: UInt) -> Bool {
    guard let table = placements[entry >> 12], spaces[table.space]!.activeCPUs > 0 else { return false }
    return isUntouched(Self.walked(memory[word: entry], table.level), table.level)
  }

  /// Sets the flag of an untouched entry, as a walker does that speculates.
  func touchSpeculatively(_ entry: UInt) {
    let value = memory[word: entry]
    memory[word: entry] = value | Self.accessFlag
    speculated.insert(entry)
    noteUpdate(of: entry, from: value, by: nil)
  }

  /// Sets the flag of the entry that an access went through.
  func updateAccessFlag(_ request: TranslationRequest, seed: UInt64) {
    guard let (location, level) = leafLocation(request) else { return }
    if !speculated.isEmpty { speculated.remove(location) }
    let value = memory[word: location]
    guard value & 1 != 0 else { return }
    guard value & Self.accessFlag == 0 else {
      unorderedUpdates[location]?.cpus.insert(request.cpu)
      return
    }
    let isLost = usesCached(request, location, level, rule: .accessFlagLost, seed: seed) {
      $0 & Self.accessFlag != 0
    }
    guard !isLost else { return }
    memory[word: location] = value | Self.accessFlag
    noteUpdate(of: location, from: value, by: request.cpu)
  }
}
