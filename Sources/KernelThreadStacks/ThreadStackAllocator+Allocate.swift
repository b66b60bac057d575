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
    let stack = takeLast(node: node)
    machine.restoreInterrupts(interrupts)
    guard let stack else { return try allocateSlowly(node: node) }
    return cleared(stack)
  }

  @inlinable func cleared(_ stack: PackedStack) -> ThreadStack {
    machine.clear(stack.base, byteCount: geometry.size)
    return ThreadStack(stack, control: control)
  }

  /// Takes the stack that was freed last on this CPU, if it is of the wanted node.
  ///
  /// Interrupts are off.
  @inlinable @inline(__always) func takeLast(node: NodeID?) -> PackedStack? {
    let record = record(ofCPU: machine.currentCPU)
    let last = record.pointee.count &- 1
    guard last >= 0 else { return nil }
    let stack = magazine(of: record)[last]
    // A stack whose frames are of several nodes has a tag that is no node's number.
    guard stack.tag == UInt(bitPattern: node?.index ?? record.pointee.home) else { return nil }
    record.pointee.count = last
    liveFrames(of: record, node: stack.node).pointee &+= geometry.pageCount
    mark(stack, .live(stack))
    return stack
  }

  /// The rest of `allocate`: the stack that was freed last does not fit, or there is none.
  @inlinable @inline(never)
  func allocateSlowly(node: NodeID?) throws(ThreadStackError) -> ThreadStack {
    if layout.nodeCount > 1 {
      let interrupts = machine.disableInterrupts()
      let record = record(ofCPU: machine.currentCPU)
      record.pointee.home = machine.currentNode.index
      let stack = takeCached(node: node?.index ?? record.pointee.home, from: record)
      machine.restoreInterrupts(interrupts)
      if let stack { return cleared(stack) }
    }
    return try makeAccounted(node: node)
  }

  /// Looks through the whole magazine for a stack of the wanted node.
  ///
  /// Interrupts are off.
  @inlinable func takeCached(node: Int, from record: UnsafeMutablePointer<CPURecord>) -> PackedStack? {
    let entries = magazine(of: record)
    let last = record.pointee.count &- 1
    var index = last
    while index >= 0 {
      let stack = entries[index]
      if stack.node == node {
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

  /// Makes a stack of new frames.
  ///
  /// Under memory pressure, freed stacks go back first.
  @inlinable func makeAccounted(node: NodeID?) throws(ThreadStackError) -> ThreadStack {
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

  /// Gives back the frames that invalid entries name, and empties the entries.
  ///
  /// Returns how many.
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

  /// Gives a block back and returns the number of its frames.
  ///
  /// A refusal is counted: it means that someone else freed it.
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
