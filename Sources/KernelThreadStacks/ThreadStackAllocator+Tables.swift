// The tables that slots' entries are in: built when no slot with a table is free, given back when none of a table's slots is in
// use. The lock is not held meanwhile; SlotTable keeps all others off a claimed table.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Has a claimed table built and takes its first slot, which is counted already; returns -1 if there is no memory for it.
  ///
  /// - Parameter refusal: why there is no table, if there is none.
  @inline(__always)
  func takeSlot(ofNewTable table: Int, node: NodeID?, _ refusal: inout ThreadStackError?) -> Int {
    do {
      let location = try arena.leafEntry(at: slots.firstAddress(ofTable: table), node: node, frames: frames)
      let section = takeLock()
      let free = slots.open(table, at: location, section.held)
      unlock(section)
      return slots.number(of: free)
    } catch {
      refusal = .frames(error)
      let section = takeLock()
      slots.abandon(table, section.held)
      unlock(section)
      return -1
    }
  }

  /// Gives back the tables none of whose slots is in use.
  func releaseEmptyTables() -> Int {
    if isLinear { return 0 }
    let section = takeLock()
    let end = slots.endOfTables(section.held)
    unlock(section)
    return releaseEmptyTables(from: 0, to: end)
  }

  /// Gives back those of the tables `first..<end` none of whose slots is in use.
  ///
  /// Neighbouring tables go together, so that one invalidation serves them.
  @inline(never)
  func releaseEmptyTables(from first: Int, to end: Int) -> Int {
    if isLinear { return 0 }
    var table = first
    var given = 0
    while table < end {
      var runEnd = table
      let section = takeLock()
      while runEnd < end, slots.claimEmptyTable(runEnd, section.held) { runEnd &+= 1 }
      unlock(section)
      if runEnd == table {
        table &+= 1
        continue
      }
      let range = VirtualAddressRange(slots.firstAddress(ofTable: table), slots.firstAddress(ofTable: runEnd))
      given &+= arena.releaseTables(covering: range, to: frames)
      let again = takeLock()
      var released = runEnd
      while released > table {
        released &-= 1
        slots.putBare(released, again.held)
      }
      unlock(again)
      table = runEnd
    }
    return given
  }
}
