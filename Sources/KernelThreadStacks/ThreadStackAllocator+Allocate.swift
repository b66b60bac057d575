// Handing out stacks: from this CPU's magazine, else made anew.

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
    let interrupts = machine.disableInterrupts()
    let record = record(ofCPU: machine.currentCPU)
    guard let stack = takeLast(node: node, from: record) else {
      return try allocateSlowly(node: node, record, restoring: interrupts)
    }
    machine.restoreInterrupts(interrupts)
    return cleared(stack)
  }

  /// Clears what a former owner may have used of a cached stack.
  @inline(__always) func cleared(_ stack: PackedStack) -> ThreadStack {
    let byteCount = control.pointee.clearedBytes
    if byteCount > 0 {
      machine.clear(stack.base + control.pointee.firstInitialPage, byteCount: byteCount)
    } else {
      clearDirtyPages(of: stack.base)
    }
    return ThreadStack(stack, control: control)
  }

  /// Takes the stack that was freed last on this CPU, if it is of the wanted node.
  ///
  /// It counts as in use from then on because it is in no magazine any more. Interrupts are off.
  @inline(__always) func takeLast(
    node: NodeID?, from record: UnsafeMutablePointer<CPURecord>
  ) -> PackedStack? {
    let last = record.pointee.count &- 1
    guard last >= 0 else { return nil }
    let stack = magazine(of: record)[last]
    guard stack.tag == (node.map { cachedTag(ofNode: $0.index) } ?? record.pointee.homeTag) else { return nil }
    record.pointee.count = last
    mark(stack, .live(stack))
    return stack
  }

  /// The tag of a stack of a node whose frames need no further look.
  @inline(__always) func cachedTag(ofNode node: Int) -> UInt {
    UInt(bitPattern: node) | control.pointee.cachedTag
  }

  /// What the slow path found while it held the lock.
  enum Found {
    case stack(PackedStack)
    /// A slot whose table is there.
    case slot(Int)
    /// Neither: a table has to be built, or the stack needs no slot.
    case nothing
    /// Neither, and so many threads wait for the frames that a new stack would take.
    case refillsWait(Int)
  }

  /// The rest of `allocate`: the stack that was freed last does not fit, or there is none.
  ///
  /// Interrupts are off; they are restored. What a CPU can do with what it has at hand is done here, the rest by others.
  @inline(never)
  func allocateSlowly(
    node: NodeID?, _ record: UnsafeMutablePointer<CPURecord>, restoring interrupts: InterruptState
  ) throws(ThreadStackError) -> ThreadStack {
    guard control.pointee.isUniform else {
      return try allocateOtherwise(node: node, record, restoring: interrupts)
    }
    // There is one node, which need not be named.
    let state = machine.lock(lock)
    if shared.pointee.depotCount != 0 { return takeFromDepot(record, unlocking: state, restoring: interrupts) }
    let index = Int(shared.pointee.firstPartial)
    let used = shared.pointee.usedSlots
    guard index >= 0, Int(used) < layout.capacity, shared.pointee.refillWaiterCount == 0 else {
      machine.unlock(lock, restoring: state)
      machine.restoreInterrupts(interrupts)
      return try allocateAnyhow(node: nil)
    }
    shared.pointee.usedSlots = used &+ 1
    shared.pointee.demand.take(1)
    let group = group(index)
    let bit = takeFirstSlot(of: group, index)
    machine.unlock(lock, restoring: state)

    let slot = index &<< layout.groupShift &+ bit
    let stack = PackedStack(word: base(ofSlot: slot).rawValue | control.pointee.cachedTag)
    let offset = bit &<< control.pointee.windowEntryShift &+ control.pointee.initialEntryOffset
    let first = PhysicalAddress(group.pointee.location) + offset
    let pages = control.pointee.initialPages
    guard let contents = mapTogether(stack, pages: pages, from: first) else {
      return try makeOfSingleFrames(stack, restoring: interrupts)
    }
    record.pointee.coldAllocations &+= 1
    mappedFrames(of: record, node: 0).pointee &+= pages
    machine.restoreInterrupts(interrupts)
    return contents == .zeroed ? ThreadStack(stack, control: control) : clearedNew(stack, from: first)
  }

  /// The rest of `allocateSlowly`: the depot of the only node has a stack.
  ///
  /// Interrupts are off, and the lock is held; this ends.
  @inline(never) func takeFromDepot(
    _ record: UnsafeMutablePointer<CPURecord>, unlocking state: InterruptState,
    restoring interrupts: InterruptState
  ) -> ThreadStack {
    let stack = takeFromDepot(node: 0, record)
    machine.unlock(lock, restoring: state)
    mark(stack, .live(stack))
    machine.restoreInterrupts(interrupts)
    return cleared(stack)
  }

  /// The rest of `allocateSlowly`: the frame source has refused all frames at once.
  ///
  /// Interrupts are off; they are restored.
  @inline(never) func makeOfSingleFrames(
    _ stack: PackedStack, restoring interrupts: InterruptState
  ) throws(ThreadStackError) -> ThreadStack {
    machine.restoreInterrupts(interrupts)
    do throws(ThreadStackError) {
      return try make(.slot(slot(ofBase: stack.base)), node: nil)
    } catch { return try allocateAgain(node: nil, after: error) }
  }

  /// The rest of `allocateSlowly`: there are several nodes, or no slots.
  ///
  /// Interrupts are off; they are restored.
  @inline(never)
  func allocateOtherwise(
    node: NodeID?, _ record: UnsafeMutablePointer<CPURecord>, restoring interrupts: InterruptState
  ) throws(ThreadStackError) -> ThreadStack {
    guard layout.nodeCount == 1 else {
      machine.restoreInterrupts(interrupts)
      return try allocateAnyhow(node: node)
    }
    let state = machine.lock(lock)
    if shared.pointee.depotCount != 0 { return takeFromDepot(record, unlocking: state, restoring: interrupts) }
    shared.pointee.demand.take(1)
    machine.unlock(lock, restoring: state)
    machine.restoreInterrupts(interrupts)
    let block: PageFrame
    do {
      block = try frames.allocate(
        FrameRequest(order: geometry.strideShift &- 12, purpose: .threadStack, cleared: true))
    } catch { return try allocateAgain(node: nil, after: .frames(error)) }
    let stack = PackedStack(base: machine.linearAddress(of: block), node: 0, isMixed: false)
    return counted(stack)
  }

  /// Counts a stack that has just been made.
  @inline(__always) func counted(_ stack: PackedStack) -> ThreadStack {
    let interrupts = machine.disableInterrupts()
    let record = record(ofCPU: machine.currentCPU)
    record.pointee.coldAllocations &+= 1
    accountInitial(stack, in: record)
    machine.restoreInterrupts(interrupts)
    return ThreadStack(stack, control: control)
  }

  /// Allocates where there are several nodes, or a table has to be built.
  @inline(never)
  func allocateAnyhow(node: NodeID?) throws(ThreadStackError) -> ThreadStack {
    let found = find(node: node)
    if case .stack(let stack) = found { return cleared(stack) }
    if case .refillsWait(let threads) = found { throw .refillsWait(threads: threads) }
    do throws(ThreadStackError) {
      return try make(found, node: node)
    } catch { return try allocateAgain(node: node, after: error) }
  }

  /// Makes a stack of new frames.
  @inline(__always)
  func make(_ found: Found, node: NodeID?) throws(ThreadStackError) -> ThreadStack {
    let stack: PackedStack
    if case .slot(let slot) = found {
      stack = try makeMappedStack(slot: slot, node: node)
    } else {
      stack = try makeOtherwise(node: node)
    }
    return counted(stack)
  }

  /// The rest of `make`: the stack needs no slot, or the slot needs a table.
  @inline(never) func makeOtherwise(node: NodeID?) throws(ThreadStackError) -> PackedStack {
    if isLinear { return try makeLinearStack(node: node) }
    return try makeMappedStack(slot: try takeSlotWithTable(node: node), node: node)
  }

  /// Gives freed stacks back, under memory pressure, and tries once more.
  @inline(never)
  func allocateAgain(node: NodeID?, after error: ThreadStackError) throws(ThreadStackError) -> ThreadStack {
    noteReturned(1)
    guard reclaim(target: geometry.pageCount) > 0 else { throw error }
    let found = find(node: node)
    if case .stack(let stack) = found { return cleared(stack) }
    if case .refillsWait(let threads) = found { throw .refillsWait(threads: threads) }
    do throws(ThreadStackError) {
      return try make(found, node: node)
    } catch {
      noteReturned(1)
      throw error
    }
  }

  /// Looks for a freed stack in all of the magazine and in the depot, then for a free slot; notes the demand for it.
  ///
  /// No slot is taken while threads wait for a refill.
  @inline(__always) func find(node: NodeID?) -> Found {
    var wanted = 0
    if layout.nodeCount > 1 {
      let interrupts = machine.disableInterrupts()
      let record = record(ofCPU: machine.currentCPU)
      let home = homeNode.index
      record.pointee.homeTag = cachedTag(ofNode: home)
      wanted = node?.index ?? home
      let cached = takeCached(node: wanted, from: record)
      machine.restoreInterrupts(interrupts)
      if let cached { return .stack(cached) }
    }
    let state = machine.lock(lock)
    if depotCount(ofNode: wanted).pointee > 0 {
      let stack = takeFromDepot(node: wanted, record(ofCPU: machine.currentCPU))
      machine.unlock(lock, restoring: state)
      mark(stack, .live(stack))
      return .stack(stack)
    }
    let waiting = shared.pointee.refillWaiterCount
    if waiting > 0 {
      machine.unlock(lock, restoring: state)
      return .refillsWait(waiting)
    }
    shared.pointee.demand.take(1)
    let first = Int(shared.pointee.firstPartial)
    if first >= 0, Int(shared.pointee.usedSlots) < layout.capacity {
      let slot = takeSlot(ofPartialGroup: first)
      shared.pointee.usedSlots &+= 1
      machine.unlock(lock, restoring: state)
      return .slot(slot)
    }
    machine.unlock(lock, restoring: state)
    return .nothing
  }

  /// Looks through the whole magazine for a stack of the wanted node.
  ///
  /// Interrupts are off.
  @inline(never)
  func takeCached(node: Int, from record: UnsafeMutablePointer<CPURecord>) -> PackedStack? {
    let entries = magazine(of: record)
    let last = record.pointee.count &- 1
    var index = last
    while index >= 0 {
      let stack = entries[index]
      if stack.node == node {
        entries[index] = entries[last]
        record.pointee.count = last
        mark(stack, .live(stack))
        return stack
      }
      index &-= 1
    }
    return nil
  }
}
