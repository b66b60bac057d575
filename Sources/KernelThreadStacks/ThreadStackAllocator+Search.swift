// Handing out stacks where a CPU's magazine, the depot and the frames at hand do not serve: linear stacks, several nodes, slots
// whose table has to be built, frames that come one by one, and the second attempt after freed stacks have been given back.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// The rest of `allocateOnMagazineMiss`: there are several nodes, or no slots.
  @inline(never)
  func allocateLinearOrAcrossNodes(
    node: NodeID?, _ record: UnsafeMutablePointer<CPURecord>, restoring interrupts: consuming InterruptSection
  ) throws(ThreadStackError) -> ThreadStack {
    guard layout.nodeCount == 1 else {
      restore(interrupts)
      return try allocateBySearch(node: node, mayReclaim: true)
    }
    let section = takeLock()
    switch supply(node: nil, needsSlot: false, section.held) {
    case .depot: return takeFromDepot(record, unlocking: section, restoring: interrupts)
    case .refillsWait(let threads):
      unlock(section)
      restore(interrupts)
      throw .refillsWait(threads: threads)
    case .nothing, .slot:
      unlock(section)
      restore(interrupts)
    }
    do {
      return counted(try makeLinearStack(node: nil, isOnlyNode: true))
    } catch { return try retryAfterReclaim(node: nil, after: .frames(error)) }
  }

  /// The rest of `allocateOnMagazineMiss`: the frame source has refused all frames at once.
  @inline(never) func makeOfSingleFrames(
    _ stack: PackedStack, restoring interrupts: consuming InterruptSection
  ) throws(ThreadStackError) -> ThreadStack {
    restore(interrupts)
    return try make(.slot(slots.freeSlot(slot(ofBase: stack.base))), node: nil, mayReclaim: true)
  }

  /// Hands out a stack of the magazine or of the depot, or makes one, whatever nodes there are.
  ///
  /// - Parameter mayReclaim: whether freed stacks are given back if one is refused, and it is tried once more.
  @inline(never)
  private func allocateBySearch(node: NodeID?, mayReclaim: Bool) throws(ThreadStackError) -> ThreadStack {
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
      if let cached { return cleared(cached) }
    }
    let section = takeLock()
    let supply = supply(node: wanted, needsSlot: !isLinear, section.held)
    if case .depot = supply {
      return cleared(takeFromDepot(node: wanted, record(ofCPU: machine.currentCPU), unlocking: section))
    }
    unlock(section)
    return try make(supply, node: node, mayReclaim: mayReclaim)
  }

  /// Makes a stack of new frames: in the slot that was taken, or in one whose table is built first, or without a slot.
  ///
  /// - Parameter mayReclaim: whether freed stacks are given back if one is refused, and it is tried once more.
  @inline(never) func make(
    _ supply: Supply, node: NodeID?, mayReclaim: Bool
  ) throws(ThreadStackError) -> ThreadStack {
    if case .refillsWait(let threads) = supply { throw .refillsWait(threads: threads) }
    do throws(ThreadStackError) {
      if case .slot(let free) = supply {
        return counted(try makeMappedStack(slot: slots.number(of: free), node: node))
      }
      if !isLinear { return counted(try makeMappedStack(slot: try takeSlotWithTable(node: node), node: node)) }
      do {
        return counted(try makeLinearStack(node: node, isOnlyNode: layout.nodeCount == 1))
      } catch { throw .frames(error) }
    } catch {
      if mayReclaim { return try retryAfterReclaim(node: node, after: error) }
      noteReturned(1)
      throw error
    }
  }

  /// Gives freed stacks back, under memory pressure, and tries once more.
  @inline(never) private func retryAfterReclaim(
    node: NodeID?, after error: ThreadStackError
  ) throws(ThreadStackError) -> ThreadStack {
    noteReturned(1)
    guard reclaim(target: geometry.pageCount) > 0 else { throw error }
    return try allocateBySearch(node: node, mayReclaim: false)
  }

  // MARK: Counting

  /// Counts a stack that has just been made.
  @inline(__always) func counted(_ stack: PackedStack) -> ThreadStack {
    let interrupts = turnInterruptsOff()
    let record = record(ofCPU: machine.currentCPU)
    record.pointee.coldAllocations &+= 1
    accountInitial(stack, in: record, interrupts.off)
    restore(interrupts)
    return ThreadStack(stack, control: control)
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
