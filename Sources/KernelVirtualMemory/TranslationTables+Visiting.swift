// Visits to the leaf entries of a range, as fork makes them for copy-on-write. Ranges without a table are skipped whole.

import KernelMachine

extension TranslationTables {
  /// Calls `body` for each valid leaf entry, page or block, that maps a part of a range, in ascending order.
  ///
  /// `body` may change the entry that it is called for; it must not map or unmap in these tables.
  ///
  /// - Throws: the first error that `body` throws.
  /// - Complexity: O(tables of the range), 512 steps for each.
  public func visitLeaves<Failure: Error>(
    in range: VirtualAddressRange, _ body: (MappedLeaf) throws(Failure) -> Void
  ) throws(Failure) {
    guard range.upperBound > range.lowerBound else { return }
    try visit(root, level: rootLevel, range.lowerBound.rawValue, range.upperBound.rawValue &- 1) {
      (location, address, entry, level) throws(Failure) in
      if entry.isValid {
        let base = VirtualAddress(address & ~(1 &<< Self.shift(level) &- 1))
        try body(MappedLeaf(address: base, location: location, entry: entry, level: level))
      }
    }
  }

  /// Calls `body` for each leaf entry that is not empty, below linked and retired tables alike.
  func visit<Failure: Error>(
    _ table: PhysicalAddress, level: Int, _ first: UInt, _ last: UInt,
    _ body: (PhysicalAddress, UInt, PageTableEntry, Int) throws(Failure) -> Void
  ) throws(Failure) {
    let span: UInt = 1 &<< Self.shift(level)
    var location = Self.location(of: first, in: table, level: level)
    var address = first
    while true {
      let lastOfEntry = min(address | (span &- 1), last)
      let entry = machine.readEntry(at: location)
      if !entry.isEmpty {
        if level < 3 && entry.namesTable {
          try visit(entry.frame.physicalAddress, level: level &+ 1, address, lastOfEntry, body)
        } else {
          try body(location, address, entry, level)
        }
      }
      if lastOfEntry == last { return }
      address = lastOfEntry &+ 1
      location = location + 8
    }
  }
}
