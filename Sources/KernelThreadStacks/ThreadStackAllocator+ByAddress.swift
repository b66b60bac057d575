// Stacks of owners that know nothing but their addresses, such as C: handed out detached, and freed by address on any CPU.
//
// Of CPUs that free the same address at the same moment, one succeeds: the one that changes the slot's marker from live to
// cached, by an exclusive access. No lock is held, so a CPU that frees by mistake what another has freed may be late: the slot's
// table may have gone back, and its frame may be somebody else's.
//
//     free                                                  the others
//       location      0: there is no table                    marker = cached, retired, empty     (the stack is freed)
//       marker        load-acquire exclusive                  location = 0                        (SlotTable.claimEmptyTable)
//       location      another: not believed                   other words in the frame
//       marker        store exclusive                         table built anew: cleared, location
//
// 1. What another owner stores into the frame comes after location = 0. If the marker that was read is such a word, then the
//    second look at the location sees the 0, or a later value (verify/litmus/claim-gone).
// 2. That later value may be the same place, where a table was built anew. Its frame was cleared in between: a store to the word
//    that was read, which the new location makes visible, so the exclusive store fails (claim-anew).
// 3. Otherwise the marker was read in a table that was there, and said live. Before that table goes, somebody stores to the
//    marker, and the exclusive store fails. If it succeeds, then the stack was live, and is this CPU's from then on
//    (claim-twice, claim-freed).
//
// The exclusive access itself may be late, too: a frame that was a table stays mapped, and writable, in the linear map.
//
// An exclusive access may fail without a reason. What fails is done once more with the lock held, which keeps tables where they
// are.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Whether every cached stack serves a request for stacks of a node: if that is -1, any node, and all memory is of one node.
  @inline(__always) public borrowing func servesAnyCached(node: Int32) -> Bool {
    control.pointee.caching.everyStackServes(node: node)
  }

  /// Hands out the stack that this CPU has freed last, detached, if there is one and no further look is needed.
  ///
  /// None is needed where ``servesAnyCached(node:)``. If the answer is `nil`, ``allocate(node:)`` is to be called.
  ///
  /// - Parameter clear: clears the stack at `base` from `offset` on, whole pages, perhaps none, and returns the stack in the caller's
  ///   terms: so what the caller ends in may be what clears.
  /// - Returns: what `clear` has returned; the stack reads as zero everywhere then.
  /// - Complexity: O(1).
  @inline(__always) public borrowing func takeCached<Stack>(
    clear: (_ base: VirtualAddress, _ offset: Int, _ byteCount: Int) -> Stack
  ) -> Stack? {
    let interrupts = turnInterruptsOff()
    let record = record(ofCPU: machine.currentCPU)
    guard let stack = record.popLast(interrupts.off) else {
      restore(interrupts)
      return nil
    }
    mark(stack, .live(stack))
    restore(interrupts)
    let byteCount = control.pointee.caching.clearedBytes
    if byteCount > 0 { return clear(stack.base, control.pointee.caching.firstInitialPage, byteCount) }
    clearDirtyPages(of: stack.base)
    return clear(stack.base, 0, 0)
  }

  /// Takes back a linear stack by its address, for which the frame source has handed out a block.
  ///
  /// Interrupts are off, and the caller sees to it that no two CPUs free the same block at the same time.
  ///
  /// - Throws: ``ThreadStackError/notLive(_:)``; nothing has changed then.
  @inline(__always) public borrowing func free(linearBlockAt address: VirtualAddress) throws(ThreadStackError) {
    guard lowestWord(ofLinear: address).pointee != freedMark(of: address) else { throw .notLive(address) }
    let home = layout.nodeCount == 1 ? 0 : frames.node(of: machine.frame(ofLinear: address)).index
    freeLinear(
      PackedStack(base: address, node: home, isMixed: false), record(ofCPU: machine.currentCPU), .promised())
  }
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable, M: ExclusiveAccessMachine {
  /// Takes back the stack that begins at an address, if that can be done without a lock.
  ///
  /// Linear stacks are not taken.
  ///
  /// - Parameters:
  ///   - address: the stack's base.
  ///   - stackPointer: the caller's, which must not be on the stack; a stack is not taken if it may be.
  /// - Returns: whether it was taken. If not, nothing has changed, and ``free(at:)`` takes it, or says what is wrong.
  /// - Complexity: as of ``free(_:)``.
  @inline(__always) public borrowing func freeAtHand(
    at address: VirtualAddress, stackPointer: @autoclosure () -> VirtualAddress
  ) -> Bool {
    let interrupts = turnInterruptsOff()
    let record = record(ofCPU: machine.currentCPU)
    guard control.pointee.isBase(address, ofOtherStackThan: stackPointer()),
      let (seen, marker) = claimPlain(address)
    else {
      restore(interrupts)
      return false
    }
    let stack = StackMarker(entry: seen).stack(atBase: address)
    if let room = record.room, !stack.isCharged, !(stack.isGrowing && hasGrown(markedAt: marker)) {
      record.push(stack, at: room, interrupts.off)
    } else {
      freeUncached(stack, record, interrupts.off)
    }
    restore(interrupts)
    return true
  }

  /// Changes a marker from live to cached, if it says nothing more.
  ///
  /// - Returns: what it was, and where it lies in the linear map; `nil` if it has not been changed.
  @inline(__always)
  private func claimPlain(_ base: VirtualAddress) -> (seen: PageTableEntry, marker: VirtualAddress)? {
    let place = control.pointee.caching.markerPlace(ofBase: base)
    let location = place.slotGroup.pointee.location
    guard location != 0 else { return nil }
    let marker = VirtualAddress(location &+ place.offset)
    let seen = machine.updateEntry(atLinear: marker) { entry in
      let isThere = place.slotGroup.pointee.location == location
      return StackMarker(entry: entry).isLiveAndNoMore && isThere
        ? StackMarker(entry: entry).claimed.entry : nil
    }
    guard let seen else { return nil }
    return (seen, marker)
  }

  /// Takes back the stack that begins at an address, after checks at run time: for owners such as C.
  ///
  /// The address must have come from ``ThreadStack/detach()`` or ``takeCached(clear:)``. What is found out: a foreign address, as
  /// all of linear stacks are, one within a stack, a stack that has been freed already. If several CPUs free the same one at the
  /// same time, one succeeds.
  ///
  /// - Throws: what ``stack(at:)`` throws; nothing has changed then.
  /// - Complexity: as of ``free(_:)``; it takes a lock.
  public borrowing func free(at address: VirtualAddress) throws(ThreadStackError) {
    _ = try slot(ofStackAt: address)
    guard let marker = claim(address) else { throw .notLive(address) }
    let interrupts = turnInterruptsOff()
    freeUncharging(marker.stack(at: address), record(ofCPU: machine.currentCPU), interrupts.off)
    restore(interrupts)
  }

  /// Changes a marker from live to cached, whatever else it says.
  ///
  /// - Returns: what it was; `nil` if the stack is not in use.
  private func claim(_ base: VirtualAddress) -> StackMarker? {
    let section = takeLock()
    let place = control.pointee.caching.markerPlace(ofBase: base)
    let location = place.slotGroup.pointee.location
    var claimed: PageTableEntry?
    var isLive = location != 0
    while isLive, claimed == nil {
      claimed = machine.updateEntry(atLinear: VirtualAddress(location &+ place.offset)) { entry in
        isLive = StackMarker(entry: entry).isLive
        return isLive ? StackMarker(entry: entry).claimed.entry : nil
      }
    }
    unlock(section)
    return claimed.map { StackMarker(entry: $0) }
  }
}
