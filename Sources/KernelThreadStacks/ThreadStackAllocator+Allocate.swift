// Handing out stacks: from this CPU's magazine, else from the depot, else made of frames that are at hand, in a slot that is
// free. What takes longer is in ThreadStackAllocator+Search.swift.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Hands out a stack that reads as zero everywhere.
  ///
  /// A freed stack of this CPU serves first, which takes no lock and writes no cache line that CPUs share; then one of the
  /// depot. Where none fits, one is made of new frames, unless threads wait for a refill
  /// (``noteRefillWaiters(_:)``); where these run out, freed stacks are given back first and it is tried once more.
  ///
  /// - Parameter node: the preferred node; `nil` means the node of the current CPU. Other nodes serve when it cannot.
  /// - Throws: ``ThreadStackError/frames(_:)``, ``ThreadStackError/refillsWait(threads:)`` or
  ///   ``ThreadStackError/slotsExhausted(capacity:)``; nothing half-made remains.
  /// - Complexity: O(1) in the number of stacks.
  @inline(__always)
  public borrowing func allocate(node: NodeID?) throws(ThreadStackError) -> ThreadStack {
    if let node, UInt(bitPattern: node.index) >= UInt(bitPattern: layout.nodeCount) {
      throw .frames(.unknownNode(node))
    }
    let interrupts = turnInterruptsOff()
    let record = record(ofCPU: machine.currentCPU)
    // A stack that is in no magazine any more counts as in use.
    guard let stack = record.pop(tag: node.map { cachedTag(ofNode: $0.index) }, interrupts.off) else {
      var refusal: ThreadStackError?
      let found = takeAtHand(record, &refusal, restoring: interrupts)
      if case .stack(let stack) = found { return ThreadStack(stack, control: control) }
      guard let stack = allocateBySearch(node: node, found, &refusal) else { throw refusal.unsafelyUnwrapped }
      return ThreadStack(stack, control: control)
    }
    mark(stack, .live(stack))
    restore(interrupts)
    clear(stack)
    return ThreadStack(stack, control: control)
  }

  /// Clears what a former owner may have used of a cached stack.
  @inline(__always) func clear(_ stack: PackedStack) {
    let byteCount = control.pointee.caching.clearedBytes
    if byteCount > 0 {
      machine.clear(stack.base + control.pointee.caching.firstInitialPage, byteCount: byteCount)
    } else {
      clearDirtyPages(of: stack.base)
    }
  }

  /// What serves a request that this CPU's magazine does not.
  enum Supply {
    /// The depot of the wanted node, which has a stack.
    case depot
    /// A slot that was free, and whose table is there.
    case slot(FreeSlot)
    /// A stack that needs no slot, or one whose table has to be built.
    case nothing
    /// None: so many threads wait for the frames that a new stack would take.
    case refillsWait(Int)
  }

  /// Decides what serves a request: a depot, else a free slot, which is taken, unless threads wait for a refill.
  ///
  /// - Parameters:
  ///   - node: whose depot; `nil` for the only node's.
  ///   - needsSlot: whether a new stack lies in a slot.
  @inline(__always) func supply(
    node: Int?, needsSlot: Bool, _ held: borrowing LockHeld
  ) -> Supply {
    let cached = node.map { depot.count(ofNode: $0) } ?? depot.count
    if cached != 0 { return .depot }
    let waiting = shared.pointee.refillWaiterCount
    if waiting != 0 { return .refillsWait(waiting) }
    guard needsSlot, let free = slots.take(held) else { return .nothing }
    return .slot(free)
  }

  /// What a CPU has at hand for a request that its magazine does not serve.
  enum AtHand {
    /// A stack, handed out.
    case stack(PackedStack)
    /// The slot that a stack would have, which is taken; its frames are yet to be found.
    case slot(PackedStack)
    /// None of these.
    case nothing
    /// None of these, and the frame source has refused a block.
    case refused
  }

  /// The rest of `allocate`: the stack that was freed last does not fit, or there is none.
  ///
  /// What a CPU cannot do with what it has at hand is left to `allocateBySearch`.
  @inline(never)
  func takeAtHand(
    _ record: UnsafeMutablePointer<CPURecord>, _ refusal: inout ThreadStackError?,
    restoring interrupts: consuming InterruptSection
  ) -> AtHand {
    guard control.pointee.caching.isUniform else {
      return takeLinearAtHand(record, &refusal, restoring: interrupts)
    }
    // There is one node, which need not be named.
    let section = takeLock()
    guard case .slot(let free) = supply(node: nil, needsSlot: true, section.held) else {
      if depot.count != 0 { return .stack(takeFromDepot(record, unlocking: section, restoring: interrupts)) }
      unlock(section)
      restore(interrupts)
      return .nothing
    }
    depot.noteTaken(1, section.held)
    unlock(section)

    let stack = PackedStack(word: base(ofSlot: slots.number(of: free)).rawValue | control.pointee.cachedTag)
    let offset = free.bit &<< control.pointee.windowEntryShift &+ control.pointee.initialEntryOffset
    let first = PhysicalAddress(free.slotGroup.pointee.location) + offset
    let pages = control.pointee.initialPages
    guard let contents = mapTogether(stack, pages: pages, from: first, interrupts.off) else {
      restore(interrupts)
      return .slot(stack)
    }
    record.pointee.coldAllocations &+= 1
    record.countMapped(pages, ofNode: 0, interrupts.off)
    restore(interrupts)
    if contents != .zeroed { clearNew(stack, from: first) }
    return .stack(stack)
  }

  /// The rest of `takeAtHand`: there are no slots, or there are several nodes, which a search goes through.
  @inline(never)
  private func takeLinearAtHand(
    _ record: UnsafeMutablePointer<CPURecord>, _ refusal: inout ThreadStackError?,
    restoring interrupts: consuming InterruptSection
  ) -> AtHand {
    guard layout.nodeCount == 1 else {
      restore(interrupts)
      return .nothing
    }
    let section = takeLock()
    switch supply(node: nil, needsSlot: false, section.held) {
    case .depot: return .stack(takeFromDepot(record, unlocking: section, restoring: interrupts))
    case .refillsWait:
      unlock(section)
      restore(interrupts)
      return .nothing
    case .slot, .nothing:
      depot.noteTaken(1, section.held)
      unlock(section)
      restore(interrupts)
    }
    do { return .stack(try makeLinearStack(node: nil)) } catch { refusal = .frames(error) }
    return .refused
  }

  /// The rest of `takeAtHand`: the depot of the only node has a stack.
  @inline(never) func takeFromDepot(
    _ record: UnsafeMutablePointer<CPURecord>, unlocking section: consuming LockSection,
    restoring interrupts: consuming InterruptSection
  ) -> PackedStack {
    let stack = takeFromDepot(node: 0, record, unlocking: section)
    restore(interrupts)
    clear(stack)
    return stack
  }

  /// Takes a stack of a node out of the depot for its new owner, and some more for the magazine.
  @inline(__always) func takeFromDepot(
    node: Int, _ record: UnsafeMutablePointer<CPURecord>, unlocking section: consuming LockSection
  ) -> PackedStack {
    let stack = depot.take(node: node, refilling: record, section.held)
    unlock(section)
    mark(stack, .live(stack))
    return stack
  }

  /// The tag of a stack of a node whose frames need no further look.
  @inline(__always) func cachedTag(ofNode node: Int) -> UInt {
    UInt(bitPattern: node) | control.pointee.cachedTag
  }
}
