// Memory pressure: freed stacks and empty tables go back.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Gives back frames that no live stack needs: unmapped stacks, then this CPU's cached ones, then empty tables.
  ///
  /// Magazines of other CPUs are theirs alone; each CPU has to call this for its own (see also
  /// ``reclaim(fromStoppedCPU:)``). It takes only spin locks. The frames that growth relies on are not touched: an idle
  /// CPU gives its reserve back by ``releaseReserve()``.
  ///
  /// - Parameter target: how many frames are enough; `Int.max` for all.
  /// - Returns: how many frames went back, which may be more or fewer.
  @discardableResult
  @inlinable public borrowing func reclaim(target: Int) -> Int {
    var given = completeRetirement()
    if given < target {
      let interrupts = machine.disableInterrupts()
      given &+= emptyMagazine(record(ofCPU: machine.currentCPU), target: target &- given)
      machine.restoreInterrupts(interrupts)
    }
    if given < target { given &+= releaseEmptyTables() }
    return given
  }

  /// Gives back the cached stacks and the reserve of a CPU that has stopped, for as long as it stays stopped.
  ///
  /// Nothing executes on that CPU any more; the caller's own work is ordered after all that it did.
  ///
  /// - Parameter cpu: its number.
  /// - Returns: how many frames went back; 0 for a CPU that does not exist.
  @discardableResult
  @inlinable public borrowing func reclaim(fromStoppedCPU cpu: Int) -> Int {
    guard cpu >= 0, cpu < layout.cpuCount else { return 0 }
    let reserved = isGrowing ? releaseReserve(reserve(ofCPU: cpu)) : 0
    return reserved &+ emptyMagazine(record(ofCPU: cpu), target: .max)
  }

  /// Takes stacks out of a magazine until their frames reach `target`, and gives these back.
  ///
  /// Interrupts are off and the magazine is this CPU's, or its CPU has stopped, or nobody else uses the allocator.
  @inlinable @inline(never)
  func emptyMagazine(_ record: UnsafeMutablePointer<CPURecord>, target: Int) -> Int {
    var given = 0
    var promised = 0
    while record.pointee.count > 0, promised < target {
      let count = record.pointee.count &- 1
      let stack = magazine(of: record)[count]
      record.pointee.count = count
      promised &+= (geometry.size &- control.pointee.firstInitialPage) &>> 12
      if isLinear {
        given &+= giveBackLinear(stack)
      } else {
        let state = machine.lock(lock)
        if shared.pointee.retired &- shared.pointee.drained > layout.ringMask {
          invalidateRetired()
          given &+= drain(atMost: .max)
        }
        enqueueRetired(stack)
        machine.unlock(lock, restoring: state)
      }
    }
    return given &+ completeRetirement()
  }

  /// Gives back the tables none of whose slots is in use.
  @inlinable func releaseEmptyTables() -> Int {
    releaseEmptyTables(from: 0, to: layout.groupCount &>> layout.tableShift)
  }

  /// Gives back those of the tables `first..<end` none of whose slots is in use.
  ///
  /// Neighbouring tables go together, so that one invalidation serves them. The lock is not held.
  @inlinable @inline(never)
  func releaseEmptyTables(from first: Int, to end: Int) -> Int {
    if isLinear { return 0 }
    var table = first
    var given = 0
    while table < end {
      var runEnd = table
      let state = machine.lock(lock)
      while runEnd < end, claimEmptyTable(runEnd) { runEnd &+= 1 }
      machine.unlock(lock, restoring: state)
      if runEnd == table {
        table &+= 1
        continue
      }
      let range = VirtualAddressRange(firstAddress(ofTable: table), firstAddress(ofTable: runEnd))
      given &+= arena.releaseTables(covering: range, to: frames)
      let again = machine.lock(lock)
      var released = runEnd
      while released > table {
        released &-= 1
        putBareTable(released)
      }
      machine.unlock(lock, restoring: again)
      table = runEnd
    }
    return given
  }

  /// Claims the groups of a table that is there and has no slot in use.
  ///
  /// The lock is held.
  @inlinable func claimEmptyTable(_ table: Int) -> Bool {
    for index in groups(ofTable: table) {
      let group = group(index)
      guard group.pointee.state == .partial, group.pointee.free == layout.allSlots else {
        return false
      }
    }
    for index in groups(ofTable: table) {
      unlink(index)
      group(index).pointee.state = .changing
    }
    return true
  }
}
