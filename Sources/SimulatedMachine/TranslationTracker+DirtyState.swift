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
    let isLost = usesCached(request, location, level, rule: .dirtyStateLost, seed: seed) {
      PageTableEntry(rawValue: $0).isWritable
    }
    guard !isLost else { return }
    memory[word: location] = entry.writable.rawValue
    noteUpdate(of: location, from: value, by: request.cpu)
  }
}
