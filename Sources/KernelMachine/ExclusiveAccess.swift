// Changing an entry only if nobody has stored to it since it was read.

/// A machine that can tell, when it changes a page-table entry, whether a CPU has stored to it since it was read.
///
/// A compare-and-swap tells less: the memory may have had another owner meanwhile, who has stored the same value. Stacks that are
/// freed by their addresses need it (`ThreadStackAllocator.free(at:)`); all else does without.
public protocol ExclusiveAccessMachine: Machine {
  /// Replaces an entry by what `update` makes of it, unless that is `nil`, or a CPU has stored to the entry meanwhile (LDAXR,
  /// STXR).
  ///
  /// It may also fail without a reason. What `update` reads, and what follows, is read after the entry.
  ///
  /// - Parameters:
  ///   - address: where the entry lies in the linear map.
  ///   - update: gets the entry as it is; stores nothing.
  /// - Returns: the entry that was replaced; `nil` if none was.
  func updateEntry(
    atLinear address: VirtualAddress, _ update: (PageTableEntry) -> PageTableEntry?
  ) -> PageTableEntry?
}
