// Handing out stacks: from this CPU's magazine, else made anew.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Hands out a stack that reads as zero everywhere.
  ///
  /// A freed stack of this CPU serves first, which takes no lock and writes no cache line that CPUs share. Where none
  /// fits, one is made of new frames; where these run out, freed stacks are given back first and it is tried once more.
  ///
  /// - Parameter node: the preferred node; `nil` means the node of the current CPU. Other nodes serve when it cannot.
  /// - Throws: ``ThreadStackError/frames(_:)`` or ``ThreadStackError/slotsExhausted(capacity:)``; nothing half-made
  ///   remains.
  /// - Complexity: O(1) in the number of stacks.
  @inlinable public borrowing func allocate(node: NodeID?) throws(ThreadStackError) -> ThreadStack {
    if let node, UInt(bitPattern: node.index) >= UInt(bitPattern: layout.nodeCount) {
      throw .frames(.unknownNode(node))
    }
    let interrupts = machine.disableInterrupts()
    let record = record(ofCPU: machine.currentCPU)
    let last = record.pointee.count &- 1
    let wanted = layout.nodeCount == 1 ? 0 : UInt(bitPattern: (node ?? machine.currentNode).index)
    if last >= 0 {
      let stack = magazine(of: record)[last]
      if stack.tag == wanted {
        record.pointee.count = last
        record.pointee.liveStacks &+= 1
        liveFrames(of: record)[stack.node] &+= geometry.pageCount
        mark(stack, .live(stack))
        machine.restoreInterrupts(interrupts)
        return cleared(stack)
      }
    }
    let stack = last >= 0 ? takeCached(wanted: wanted, from: record) : nil
    machine.restoreInterrupts(interrupts)
    if let stack { return cleared(stack) }
    return try allocateCold(node: node)
  }

  @inlinable func cleared(_ stack: PackedStack) -> ThreadStack {
    machine.clear(stack.base, byteCount: geometry.size)
    return ThreadStack(stack, control: control)
  }

  /// Looks through the whole magazine for a stack of the wanted node. Interrupts are off.
  @inlinable @inline(never)
  func takeCached(wanted: UInt, from record: UnsafeMutablePointer<CPURecord>) -> PackedStack? {
    let entries = magazine(of: record)
    let last = record.pointee.count &- 1
    var index = last
    while index >= 0 {
      let stack = entries[index]
      if stack.node == Int(bitPattern: wanted) {
        entries[index] = entries[last]
        record.pointee.count = last
        account(stack, 1, in: record)
        mark(stack, .live(stack))
        return stack
      }
      index &-= 1
    }
    return nil
  }

  /// Makes a stack of new frames. Under memory pressure, freed stacks go back first.
  @inlinable @inline(never)
  func allocateCold(node: NodeID?) throws(ThreadStackError) -> ThreadStack {
    let stack: PackedStack
    do throws(ThreadStackError) {
      stack = try makeStack(node: node)
    } catch {
      guard reclaim(target: geometry.pageCount) > 0 else { throw error }
      stack = try makeStack(node: node)
    }
    let interrupts = machine.disableInterrupts()
    let record = record(ofCPU: machine.currentCPU)
    record.pointee.coldAllocations &+= 1
    account(stack, 1, in: record)
    machine.restoreInterrupts(interrupts)
    return ThreadStack(stack, control: control)
  }

  @inlinable func makeStack(node: NodeID?) throws(ThreadStackError) -> PackedStack {
    if isLinear { return try makeLinearStack(node: node) }
    return try makeMappedStack(node: node)
  }

  @inlinable func makeLinearStack(node: NodeID?) throws(ThreadStackError) -> PackedStack {
    do {
      let block = try frames.allocate(
        FrameRequest(order: geometry.strideShift &- 12, node: node, purpose: .threadStack, cleared: true))
      let home = layout.nodeCount == 1 ? 0 : frames.node(of: block).index
      return PackedStack(base: machine.linearAddress(of: block), node: home, isMixed: false)
    } catch { throw .frames(error) }
  }

  /// Takes a slot and maps new frames into it.
  ///
  /// The frames are first noted in invalid entries and become valid all at once: an entry that was valid for a moment
  /// could not be taken back without an invalidation.
  @inlinable func makeMappedStack(node: NodeID?) throws(ThreadStackError) -> PackedStack {
    let slot = try takeSlot(node: node)
    let entries = stackEntries(ofSlot: slot)
    let pages = geometry.pageCount
    var home = 0
    var isMixed = false
    var page = 0
    while page < pages {
      do {
        let frame = try frames.allocate(FrameRequest(node: node, purpose: .threadStack, cleared: true))
        machine.writeEntry(arena.stackEntry(for: frame).retired, at: entries + page &* 8)
        if layout.nodeCount > 1 {
          let place = frames.node(of: frame).index
          if page == 0 { home = place } else if place != home { isMixed = true }
        }
      } catch {
        undo(slot: slot, entries: entries, pages: page)
        throw .frames(error)
      }
      page &+= 1
    }
    page = 0
    while page < pages {
      let entry = machine.readEntry(at: entries + page &* 8)
      machine.writeEntry(PageTableEntry(rawValue: entry.rawValue | 1), at: entries + page &* 8)
      page &+= 1
    }
    let stack = PackedStack(base: base(ofSlot: slot), node: home, isMixed: isMixed)
    mark(stack, .live(stack))
    machine.publishEntries()
    return stack
  }

  /// Gives the first `pages` frames of a slot back whose entries have never been valid, and the slot, and its group's
  /// table if no other slot needs it.
  @inlinable @inline(never)
  func undo(slot: Int, entries: PhysicalAddress, pages: Int) {
    emptyEntries(entries, pages: pages)
    let state = machine.lock(lock)
    putSlot(slot)
    machine.unlock(lock, restoring: state)
    let table = slot &>> (layout.groupShift &+ layout.tableShift)
    _ = releaseEmptyTables(from: table, to: table &+ 1)
  }

  /// Gives back the frames that invalid entries name, and empties the entries. Returns how many.
  @inlinable @discardableResult func emptyEntries(_ entries: PhysicalAddress, pages: Int) -> Int {
    var given = 0
    var page = 0
    while page < pages {
      let frame = machine.readEntry(at: entries + page &* 8).frame
      machine.writeEntry(.empty, at: entries + page &* 8)
      given &+= giveBack(frame, order: 0)
      page &+= 1
    }
    return given
  }

  /// Gives a block back and returns the number of its frames. A refusal is counted: it means that someone else freed it.
  @inlinable func giveBack(_ frame: PageFrame, order: Int) -> Int {
    do {
      try frames.free(frame, order: order)
      return 1 &<< order
    } catch {
      noteRefusal()
      return 0
    }
  }
}
