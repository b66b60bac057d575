// Unmapping, in three steps with an invalidation between the second and the third:
//
//   1. leaf entries are retired                  (the page is gone for this CPU's next walk)
//   2. the loss is reported up the tables        (`withdraw`: a table without live entries is retired, level by level)
//      -- invalidation, of tables too if one was retired --
//   3. retired entries are read back and emptied (`sweepLeaves`, `sweepTables`), their frames go back

import KernelMachine

extension TranslationTables {
  /// Unmaps a range, waits for the invalidation, then hands over what was mapped and gives back the tables that have
  /// become empty.
  ///
  /// A block that lies partly outside the range stays.
  ///
  /// - Parameters:
  ///   - range: whole pages; if it is empty, nothing is done.
  ///   - space: the address space that the tables belong to.
  ///   - frames: where the tables came from.
  ///   - release: gets each leaf that was mapped, retired; its frame may be used for something new.
  /// - Returns: the number of pages and blocks unmapped.
  /// - Throws: ``TranslationError/misaligned(_:)`` or ``TranslationError/outsideSpace(_:)``; nothing has been unmapped then.
  /// - Complexity: O(entries of the range in the tables that exist), and at most one invalidation.
  @discardableResult
  public func unmap<Frames: FrameSource & ~Copyable>(
    _ range: VirtualAddressRange, in space: AddressSpaceID, to frames: borrowing Frames,
    release: (MappedLeaf) -> Void
  ) throws(TranslationError) -> Int {
    guard range.upperBound > range.lowerBound else { return 0 }
    try check(range)
    var unmapped = 0
    let tables = withdraw(range) { location, _, count, _ in
      var leaving = 0
      for index in 0..<count {
        let place = location + index &* 8
        let entry = machine.readEntry(at: place)
        if entry.isValid {
          machine.writeEntry(entry.retired, at: place)
          leaving &+= 1
        }
      }
      unmapped &+= leaving
      return leaving
    }
    // Tables that never had a live entry are freed too, whether or not anything was mapped.
    guard unmapped > 0 || tables > 0 else { return 0 }
    machine.invalidate(range, in: space, scope: tables > 0 ? .tablesAndLeaves : .leaves)
    sweepLeaves(range, release: release)
    var chain = FrameChain()
    sweepAllTables(range, into: &chain)
    chain.giveBack(to: frames, machine: machine)
    return unmapped
  }

  // MARK: Step 2

  /// Subtracts entries from the counts of live ones, table by table, and retires the tables that have none left.
  ///
  /// - Parameter leaves: gets, for each run of leaf entries in one linked table: the location of the first, its virtual
  ///   address, their number, their level. It returns how many cease to be live, or -1 to keep the table in any case.
  /// - Parameter retiring: gets the first and the last address of each leaf table that is retired.
  /// - Returns: how many tables were retired.
  func withdraw(
    _ range: VirtualAddressRange, leaves: (PhysicalAddress, UInt, Int, Int) -> Int,
    retiring: (UInt, UInt) -> Void = { _, _ in }
  ) -> Int {
    var retired = 0
    _ = withdraw(
      root, level: rootLevel, range.lowerBound.rawValue, range.upperBound.rawValue &- 1, &retired, leaves,
      retiring)
    return retired
  }

  func withdraw(
    _ table: PhysicalAddress, level: Int, _ first: UInt, _ last: UInt, _ retired: inout Int,
    _ leaves: (PhysicalAddress, UInt, Int, Int) -> Int, _ retiring: (UInt, UInt) -> Void
  ) -> Int {
    if level == 3 {
      let count = Int(bitPattern: (last &- first) &>> 12) &+ 1
      return leaves(Self.location(of: first, in: table, level: 3), first, count, 3)
    }
    let span: UInt = 1 &<< Self.shift(level)
    var leaving = 0
    var address = first
    while true {
      let lastOfEntry = min(address | (span &- 1), last)
      let location = Self.location(of: address, in: table, level: level)
      let entry = machine.readEntry(at: location)
      if entry.isValid {
        if entry.isTable {
          let lost = withdraw(
            entry.frame.physicalAddress, level: level &+ 1, address, lastOfEntry, &retired, leaves,
            retiring)
          if lost >= 0 && (lost > 0 || level == 2) {
            let remaining = entry.withEntryCount(entry.entryCount &- lost)
            if remaining.entryCount == 0 {
              machine.writeEntry(remaining.retired, at: location)
              leaving &+= 1
              retired &+= 1
              if level == 2 { retiring(address & ~(span &- 1), address | (span &- 1)) }
            } else if lost > 0 {
              machine.writeEntry(remaining, at: location)
            }
          }
        } else if lastOfEntry &- address == span &- 1 {
          leaving &+= leaves(location, address, 1, level)
        }
      }
      if lastOfEntry == last { return leaving }
      address = lastOfEntry &+ 1
    }
  }

  // MARK: Step 3

  /// Empties the retired leaf entries of a range.
  ///
  /// Their invalidation has completed.
  func sweepLeaves(_ range: VirtualAddressRange, release: (MappedLeaf) -> Void) {
    visit(root, level: rootLevel, range.lowerBound.rawValue, range.upperBound.rawValue &- 1) {
      (location, address, entry, level) in
      if entry.isRetired {
        machine.writeEntry(.empty, at: location)
        release(MappedLeaf(address: VirtualAddress(address), location: location, entry: entry, level: level))
      }
    }
  }

  /// Empties the retired descriptors of the tables of all levels in a range.
  ///
  /// Their invalidation has completed.
  func sweepAllTables(_ range: VirtualAddressRange, into chain: inout FrameChain) {
    var level = 3
    while level > rootLevel {
      sweepTables(range, ofLevel: level, into: &chain)
      level &-= 1
    }
  }

  /// Empties the retired descriptors of the tables of one level.
  ///
  /// Those of the levels below have been swept.
  func sweepTables(_ range: VirtualAddressRange, ofLevel level: Int, into chain: inout FrameChain) {
    sweepTables(
      root, level: rootLevel, range.lowerBound.rawValue, range.upperBound.rawValue &- 1, target: level &- 1,
      &chain)
  }

  func sweepTables(
    _ table: PhysicalAddress, level: Int, _ first: UInt, _ last: UInt, target: Int, _ chain: inout FrameChain
  ) {
    let span: UInt = 1 &<< Self.shift(level)
    var address = first
    while true {
      let lastOfEntry = min(address | (span &- 1), last)
      let location = Self.location(of: address, in: table, level: level)
      let entry = machine.readEntry(at: location)
      if entry.namesTable {
        if level == target {
          if !entry.isValid {
            machine.writeEntry(.empty, at: location)
            chain.push(entry.frame, machine: machine)
          }
        } else {
          sweepTables(
            entry.frame.physicalAddress, level: level &+ 1, address, lastOfEntry, target: target, &chain)
        }
      }
      if lastOfEntry == last { return }
      address = lastOfEntry &+ 1
    }
  }
}
