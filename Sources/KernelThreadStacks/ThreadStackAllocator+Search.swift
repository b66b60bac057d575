// Handing out stacks where a CPU's magazine, the depot and the frames at hand do not serve: linear stacks, several nodes, slots
// whose table has to be built, frames that come one by one, and the second attempt after freed stacks have been given back.
//
// Kernels allocate on small stacks. So none of these functions throws, for each would keep room for a copy of the error: they
// write it to one place, which is their caller's. And one search has the frame of all its steps.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// The rest of `allocate`: hands out a stack of the magazine or of the depot, or makes one, whatever nodes there are.
  ///
  /// If it is refused, freed stacks are given back, and it is tried once more, unless threads wait for a refill.
  ///
  /// - Parameters:
  ///   - node: the preferred node.
  ///   - found: what the CPU had at hand: a slot, or nothing, or not even a block.
  ///   - refusal: why there is no stack, if there is none; where a block was refused, why.
  @inline(never)
  func allocateBySearch(
    node: NodeID?, _ found: AtHand, _ refusal: inout ThreadStackError?
  ) -> PackedStack? {
    var slot = -1
    if case .slot(let stack) = found { slot = self.slot(ofBase: stack.base) }
    var isRefused = false
    if case .refused = found { isRefused = true }
    var hasReclaimed = false
    while true {
      if !isRefused, let stack = search(node: node, slot: slot, &refusal) { return stack }
      isRefused = false
      if case .refillsWait = refusal { return nil }
      noteReturned(1)
      guard !hasReclaimed, reclaim(target: geometry.pageCount) > 0 else { return nil }
      hasReclaimed = true
      slot = -1
    }
  }

  /// Searches once: in the magazine for a stack of the node, in the depot, for a slot, for a table, for frames.
  ///
  /// - Parameter slot: a slot that has been taken, or -1.
  @inline(never)
  private func search(
    node: NodeID?, slot taken: Int, _ refusal: inout ThreadStackError?
  ) -> PackedStack? {
    if taken >= 0 { return makeMappedStack(slot: taken, node: node, &refusal) }
    var wanted = 0
    if layout.nodeCount > 1 {
      let interrupts = turnInterruptsOff()
      let record = record(ofCPU: machine.currentCPU)
      let home = homeNode.index
      record.pointee.homeTag = cachedTag(ofNode: home)
      wanted = node?.index ?? home
      let cached = record.take(node: wanted, interrupts.off)
      if let cached { mark(cached, .live(cached)) }
      restore(interrupts)
      if let cached {
        clear(cached)
        return cached
      }
    }
    let section = takeLock()
    var slot = -1
    var table: Int?
    switch supply(node: wanted, needsSlot: !isLinear, section.held) {
    case .depot:
      let stack = takeFromDepot(node: wanted, record(ofCPU: machine.currentCPU), unlocking: section)
      clear(stack)
      return stack
    case .refillsWait(let threads):
      unlock(section)
      refusal = .refillsWait(threads: threads)
      return nil
    case .slot(let free): slot = slots.number(of: free)
    case .nothing: if !isLinear { table = slots.claimBareTable(section.held) }
    }
    depot.noteTaken(1, section.held)
    unlock(section)
    if isLinear {
      do { return try makeLinearStack(node: node) } catch { refusal = .frames(error) }
      return nil
    }
    if slot < 0 {
      guard let table else {
        refusal = .slotsExhausted(capacity: layout.capacity)
        return nil
      }
      slot = takeSlot(ofNewTable: table, node: node, &refusal)
      if slot < 0 { return nil }
    }
    return makeMappedStack(slot: slot, node: node, &refusal)
  }

  // MARK: Counting

  /// Counts a stack that has just been made.
  @inline(__always) func count(_ stack: PackedStack) {
    let interrupts = turnInterruptsOff()
    let record = record(ofCPU: machine.currentCPU)
    record.pointee.coldAllocations &+= 1
    accountInitial(stack, in: record, interrupts.off)
    restore(interrupts)
  }

  /// Adds the frames of a stack that has just been made: all are there, or the top one where stacks grow.
  @inline(__always)
  private func accountInitial(
    _ stack: PackedStack, in record: UnsafeMutablePointer<CPURecord>, _ off: borrowing InterruptsOff
  ) {
    if stack.isMixed { return accountPages(stack, 1, in: record, off) }
    record.countMapped(control.pointee.initialPages, ofNode: stack.node, off)
  }
}
