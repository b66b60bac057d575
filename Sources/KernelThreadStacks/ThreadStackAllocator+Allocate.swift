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
    // A stack whose pages have to be looked at one by one has a tag that is no node's number.
    guard stack.tag == UInt(bitPattern: node?.index ?? record.pointee.home) else { return nil }
    record.pointee.count = last
    liveFrames(of: record, node: stack.node).pointee &+= geometry.pageCount
    mark(stack, .live(stack))
    return stack
  }

  /// The rest of `allocate`: the stack that was freed last does not fit, or there is none.
  @inlinable @inline(never)
  func allocateSlowly(node: NodeID?) throws(ThreadStackError) -> ThreadStack {
    if layout.looksAtTags {
      let interrupts = machine.disableInterrupts()
      let record = record(ofCPU: machine.currentCPU)
      record.pointee.home = layout.nodeCount == 1 ? 0 : homeNode.index
      let stack = takeCached(node: node?.index ?? record.pointee.home, from: record)
      machine.restoreInterrupts(interrupts)
      if let stack {
        let first = control.pointee.firstInitialPage
        machine.clear(stack.base + first, byteCount: geometry.size &- first)
        return ThreadStack(stack, control: control)
      }
    }
    var mayReclaim = true
    while true {
      do throws(ThreadStackError) {
        let stack = isLinear ? try makeLinearStack(node: node) : try makeMappedStack(node: node)
        let interrupts = machine.disableInterrupts()
        let record = record(ofCPU: machine.currentCPU)
        record.pointee.coldAllocations &+= 1
        account(stack, 1, in: record)
        machine.restoreInterrupts(interrupts)
        return ThreadStack(stack, control: control)
      } catch {
        // Under memory pressure freed stacks go back; then it is tried once more.
        guard mayReclaim, reclaim(target: geometry.pageCount) > 0 else { throw error }
        mayReclaim = false
      }
    }
  }

  /// Looks through the whole magazine for a stack of the wanted node.
  ///
  /// Interrupts are off.
  @inlinable @inline(never)
  func takeCached(node: Int, from record: UnsafeMutablePointer<CPURecord>) -> PackedStack? {
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
}
