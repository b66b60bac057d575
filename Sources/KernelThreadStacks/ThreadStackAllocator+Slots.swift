// Which slots are free: groups of up to 64 slots with a bitmap each, in lists.
//
// The groups of one last-level table (several where a stride is below 32 KiB) get and lose it together:
//
//   bare (no table) --> changing --> partial <--> full        each group by itself
//     ^                                 |
//     +----------- changing <-----------+   all slots of all groups of the table are free
//
// A table is built and given back without holding the lock, because the arena may have to wait for memory; the state
// `changing` keeps all others off its groups meanwhile.

import KernelMachine

/// A slot that was free: its group, that group's number, and the slot's number there.
struct FreeSlot {
  let group: UnsafeMutablePointer<GroupRecord>
  let index: Int
  let bit: Int
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Takes a free slot; has one more table built if no group with a table has one.
  @inline(never) func takeSlotWithTable(node: NodeID?) throws(ThreadStackError) -> Int {
    let section = takeLock()
    if let free = takeFreeSlot(section.held) {
      unlock(section)
      return slot(free)
    }
    let table = Int(shared.pointee.usedSlots) < layout.capacity ? takeBareTable(section.held) : -1
    if table >= 0 { shared.pointee.usedSlots &+= 1 }
    unlock(section)
    guard table >= 0 else { throw .slotsExhausted(capacity: layout.capacity) }
    return try takeSlot(ofNewTable: table, node: node)
  }

  /// Takes a free slot of a group with a table and counts it, unless as many are in use as there may be.
  @inline(__always) func takeFreeSlot(_ held: borrowing LockHeld) -> FreeSlot? {
    let index = Int(shared.pointee.firstPartial)
    let used = shared.pointee.usedSlots
    guard index >= 0, Int(used) < layout.capacity else { return nil }
    shared.pointee.usedSlots = used &+ 1
    return takeFirstSlot(of: index, held)
  }

  /// Takes the lowest free slot of a partial group, which is counted already or next.
  @inline(__always) func takeFirstSlot(of index: Int, _ held: borrowing LockHeld) -> FreeSlot {
    let group = group(index)
    let free = group.pointee.free
    let left = free & (free &- 1)
    group.pointee.free = left
    if left == 0 { close(group, index, held) }
    return FreeSlot(group: group, index: index, bit: free.trailingZeroBitCount)
  }

  /// The number of a slot that was free.
  @inline(__always) func slot(_ free: FreeSlot) -> Int { free.index &<< layout.groupShift &+ free.bit }

  /// The slot with this number, as its group and its number there.
  @inline(__always) func freeSlot(_ slot: Int) -> FreeSlot {
    let index = slot &>> layout.groupShift
    return FreeSlot(group: group(index), index: index, bit: slot & (1 &<< layout.groupShift &- 1))
  }

  /// Takes a group without a free slot out of the list.
  @inline(never) func close(
    _ group: UnsafeMutablePointer<GroupRecord>, _ index: Int, _ held: borrowing LockHeld
  ) {
    unlink(index, held)
    group.pointee.state = .full
  }

  // MARK: Tables

  /// The groups of a table.
  func groups(ofTable table: Int) -> Range<Int> {
    let first = table &<< layout.tableShift
    return Range(uncheckedBounds: (first, first &+ 1 &<< layout.tableShift))
  }

  /// The first address that a table maps.
  func firstAddress(ofTable table: Int) -> VirtualAddress {
    VirtualAddress(firstWindow) + table &<< 21
  }

  /// Claims the groups of a table that is not there, or returns -1.
  @inline(never) func takeBareTable(_ held: borrowing LockHeld) -> Int {
    var table = Int(shared.pointee.firstBareTable)
    if table >= 0 {
      shared.pointee.firstBareTable = group(table &<< layout.tableShift).pointee.next
      group(table &<< layout.tableShift).pointee.next = -1
    } else {
      table = Int(shared.pointee.firstUntouchedTable)
      guard table &<< layout.tableShift < layout.groupCount else { return -1 }
      shared.pointee.firstUntouchedTable &+= 1
    }
    for index in groups(ofTable: table) { group(index).pointee.state = .changing }
    return table
  }

  /// Has a claimed table built and takes its first slot, which is counted already.
  ///
  /// The lock is not held.
  @inline(never)
  func takeSlot(ofNewTable table: Int, node: NodeID?) throws(ThreadStackError) -> Int {
    let location: PhysicalAddress
    do {
      location = try arena.leafEntry(at: firstAddress(ofTable: table), node: node, frames: frames)
    } catch {
      let section = takeLock()
      putBareTable(table, section.held)
      shared.pointee.usedSlots &-= 1
      unlock(section)
      throw .frames(error)
    }
    let section = takeLock()
    let groups = groups(ofTable: table)
    var index = groups.upperBound
    while index > groups.lowerBound {
      index &-= 1
      let offset = (index &- groups.lowerBound) &* (geometry.windowEntryBytes &<< layout.groupShift)
      group(index).pointee.setLocation(location + offset, section.held)
      group(index).pointee.free = layout.allSlots
      group(index).pointee.state = .partial
      link(index, section.held)
    }
    let free = takeFirstSlot(of: groups.lowerBound, section.held)
    unlock(section)
    return slot(free)
  }

  /// Puts the groups of a claimed table, which is not there, where the next claim finds them.
  func putBareTable(_ table: Int, _ held: borrowing LockHeld) {
    for index in groups(ofTable: table) {
      group(index).pointee.state = .bare
      group(index).pointee.free = 0
    }
    group(table &<< layout.tableShift).pointee.next = shared.pointee.firstBareTable
    shared.pointee.firstBareTable = Int32(truncatingIfNeeded: table)
  }

  // MARK: Giving slots back

  /// Frees a slot; its stack's entries are empty.
  func putSlot(_ slot: Int, _ held: borrowing LockHeld) {
    machine.writeEntry(.empty, at: markerEntry(ofSlot: slot))
    let freed = freeSlot(slot)
    freed.group.pointee.free |= 1 &<< UInt64(truncatingIfNeeded: freed.bit)
    shared.pointee.usedSlots &-= 1
    if freed.group.pointee.state == .full {
      freed.group.pointee.state = .partial
      link(freed.index, held)
    }
  }

  // MARK: The list of partial groups

  func link(_ index: Int, _ held: borrowing LockHeld) {
    let head = shared.pointee.firstPartial
    group(index).pointee.previous = -1
    group(index).pointee.next = head
    if head >= 0 { group(Int(head)).pointee.previous = Int32(truncatingIfNeeded: index) }
    shared.pointee.firstPartial = Int32(truncatingIfNeeded: index)
  }

  func unlink(_ index: Int, _ held: borrowing LockHeld) {
    let next = group(index).pointee.next
    let previous = group(index).pointee.previous
    if next >= 0 { group(Int(next)).pointee.previous = previous }
    if previous >= 0 { group(Int(previous)).pointee.next = next } else { shared.pointee.firstPartial = next }
    group(index).pointee.next = -1
    group(index).pointee.previous = -1
  }
}
