// Dirty state that the CPU keeps in a last-level entry by itself (FEAT_HAFDBS): whether a page was ever stored to.
//
//   DBM (bit 51)   AP[2] (bit 7)
//        1              1          writable-clean: the first store clears AP[2], in memory, atomically
//        1              0          writable-dirty
//        0              0          writable; whether it was written is not known
//        0              1          read-only
//
// The rule. A CPU that has cached a dirty entry stores without looking at memory again. So an entry becomes clean anew
// only after an invalidation that completed since it was last valid and dirty: here, only by being mapped anew. The other
// way, clean to dirty, needs none: a CPU that has cached the clean entry makes it dirty once more.
//
// A CPU's update races with software's plain stores to the same entry. To a valid tracked entry, software stores what the
// CPU would store, the dirty value, or an invalid one; never a clean one that it has read before.
//
// The CPU's update is no store of the program, and not ordered with the one that caused it: others may see what was stored, by a
// lock that was released after it, and still read the entry as clean. So may the CPU itself. Only a barrier for loads and
// stores that the storing CPU has executed since, ``Machine/completeAccesses()``, makes the update visible to all loads
// of the entry. (A later store to the entry is ordered without one.)
//
// Source: Arm Architecture Reference Manual (DDI 0487), D8.5 "Hardware updates to the translation tables", R_PLLLM, R_MKHJS.

extension PageTableEntry {
  static var cleanBits: UInt64 { 1 &<< 51 | 1 &<< 7 }

  /// Whether the page may have been written through this entry: not if the entry is writable-clean.
  ///
  /// Only entries that were made ``writableClean`` know better than "maybe".
  public var isDirty: Bool { rawValue & Self.cleanBits != Self.cleanBits }

  /// The same leaf entry, writable-clean: allowed to be stored through only where the CPU keeps dirty state
  /// (``Machine/tracksDirtyPages``).
  public var writableClean: Self { Self(rawValue: rawValue | Self.cleanBits) }
}
