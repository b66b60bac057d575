// Taking stacks back: into this CPU's magazine, else towards the frame source.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Takes a stack back.
  ///
  /// It cannot fail, never sleeps, and is legal with interrupts off and from exceptions.
  ///
  /// Nobody runs on the stack any more: a thread's stack is freed by its successor. A stack of another allocator is not
  /// taken, but reported as lost by its own.
  ///
  /// - Complexity: O(1); when the magazine is full, it unmaps this stack and gives back the frames of at most two
  ///   others, and every ``StackConfiguration/retirementBatch``-th time it waits for one TLB invalidation.
  @inlinable public borrowing func free(_ stack: consuming ThreadStack) {
    guard stack.control == control else { return }
    let freed = stack.take()
    let interrupts = machine.disableInterrupts()
    let record = record(ofCPU: machine.currentCPU)
    let count = record.pointee.count
    if count < configuration.cachedStacksPerCPU, !freed.isIrregular {
      magazine(of: record)[count] = freed
      record.pointee.count = count &+ 1
      liveFrames(of: record, node: freed.node).pointee &-= geometry.pageCount
      mark(freed, .cached(freed))
    } else {
      freeSlowly(freed, record)
    }
    machine.restoreInterrupts(interrupts)
  }

  /// The rest of `free`: the magazine is full, or the stack's pages have to be looked at one by one.
  ///
  /// A stack that has grown is not cached: it would keep what others may need, and a cached stack has as many pages as
  /// one that is made anew.
  ///
  /// Interrupts are off.
  @inlinable @inline(never)
  func freeSlowly(_ stack: PackedStack, _ record: UnsafeMutablePointer<CPURecord>) {
    account(stack, -1, in: record)
    let count = record.pointee.count
    if count < configuration.cachedStacksPerCPU, isAsWhenMade(stack) {
      magazine(of: record)[count] = stack
      record.pointee.count = count &+ 1
      mark(stack, .cached(stack))
    } else {
      record.pointee.overflows &+= 1
      if isLinear {
        _ = giveBackLinear(stack)
      } else {
        retire(stack)
      }
    }
  }

  /// Whether no more pages are mapped than `allocate` has mapped.
  @inlinable func isAsWhenMade(_ stack: PackedStack) -> Bool {
    let first = control.pointee.firstInitialEntry
    return first == 0 || machine.readEntry(at: stackEntries(ofBase: stack.base) + (first &- 8)).isEmpty
  }

  @inlinable func giveBackLinear(_ stack: PackedStack) -> Int {
    giveBack(machine.frame(ofLinear: stack.base), order: geometry.strideShift &- 12)
  }

  /// Takes a stack out of this CPU's cache for good, because someone has freed it twice and may still be using it.
  ///
  /// The stack counts as lost: it stays mapped and keeps its slot, and the leak handler is told. It is legal with
  /// interrupts off.
  ///
  /// - Parameter address: the stack's base.
  /// - Returns: whether this CPU had it in its cache.
  @discardableResult
  @inlinable public borrowing func quarantine(at address: VirtualAddress) -> Bool {
    let interrupts = machine.disableInterrupts()
    let record = record(ofCPU: machine.currentCPU)
    let entries = magazine(of: record)
    let last = record.pointee.count &- 1
    var index = last
    while index >= 0, entries[index].base != address { index &-= 1 }
    if index >= 0 {
      let stack = entries[index]
      entries[index] = entries[last]
      record.pointee.count = last
      mark(stack, .quarantined(stack))
      control.pointee.reportLeak(of: stack)
    }
    machine.restoreInterrupts(interrupts)
    return index >= 0
  }
}
