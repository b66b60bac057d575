// Taking stacks back: into this CPU's magazine, into the depot, else towards the frame source.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Takes a stack back.
  ///
  /// It cannot fail, never sleeps, and is legal with interrupts off and from exceptions.
  ///
  /// Nobody runs on the stack any more: a thread's stack is freed by its successor. A stack of another allocator is not
  /// taken, but reported as lost by its own.
  ///
  /// - Complexity: O(1); when magazine and depot have enough, it unmaps this stack and gives back the frames of at most
  ///   two others, and every ``StackConfiguration/retirementBatch``-th time it waits for one TLB invalidation.
  @inline(__always) public borrowing func free(_ stack: consuming ThreadStack) {
    guard stack.control == control else { return }
    let freed = stack.take()
    let interrupts = turnInterruptsOff()
    let record = record(ofCPU: machine.currentCPU)
    if !cache(freed, in: record, interrupts.off) { freeUncached(freed, record, interrupts.off) }
    restore(interrupts)
  }

  /// Puts a freed stack into the magazine and returns true, if there is room and the stack is fit for it.
  @inline(__always) func cache(
    _ stack: PackedStack, in record: UnsafeMutablePointer<CPURecord>, _ off: borrowing InterruptsOff
  ) -> Bool {
    guard let room = record.room, markCached(stack) else { return false }
    record.push(stack, at: room, off)
    return true
  }

  /// Marks a stack as cached and returns true, if no more pages are mapped than `allocate` has mapped, it is charged to
  /// no group, and it is not linear: a linear stack is marked another way.
  @inline(__always) private func markCached(_ stack: PackedStack) -> Bool {
    // A stack that grows is not linear, which its own word tells.
    if !stack.isGrowing, !control.pointee.caching.hasMarkers { return false }
    if stack.isCharged { return false }
    let marker = control.pointee.caching.marker(of: stack)
    if stack.isGrowing, hasGrown(markedAt: marker) { return false }
    machine.writeEntry(StackMarker.cached(stack).entry, atLinear: marker)
    return true
  }

  /// Whether more pages of a growing stack are mapped than `allocate` has mapped.
  ///
  /// - Parameter marker: where its marker lies in the linear map.
  @inline(__always) func hasGrown(markedAt marker: VirtualAddress) -> Bool {
    !machine.readEntry(atLinear: control.pointee.caching.firstGrownEntry(markedAt: marker)).isEmpty
  }

  // MARK: What the magazine does not take

  /// The rest of `free`: a linear stack is marked another way; the magazine takes it if it has room.
  @inline(never)
  func freeUncached(
    _ stack: PackedStack, _ record: UnsafeMutablePointer<CPURecord>, _ off: borrowing InterruptsOff
  ) {
    if isLinear { return freeLinear(stack, record, off) }
    if stack.isCharged { return freeUncharging(stack, record, off) }
    freeToDepotOrRetire(stack, record, off)
  }

  /// Marks a linear stack as freed; the magazine takes it if it has room.
  @inline(__always) func freeLinear(
    _ stack: PackedStack, _ record: UnsafeMutablePointer<CPURecord>, _ off: borrowing InterruptsOff
  ) {
    markFreed(linear: stack)
    guard let room = record.room else { return freeToDepotOrRetire(stack, record, off) }
    record.push(stack, at: room, off)
  }

  /// The rest of `free`: the magazine is full, or is to be emptied, or the stack has grown.
  ///
  /// A stack that has grown is not cached: it would keep what others may need, and a cached stack has as many pages as
  /// one that is made anew.
  @inline(never)
  func freeToDepotOrRetire(
    _ stack: PackedStack, _ record: UnsafeMutablePointer<CPURecord>, _ off: borrowing InterruptsOff
  ) {
    if isAskedToEmpty(record) { return freeOnRequest(stack, record, off) }
    let mayCache = !(stack.isGrowing && hasGrown(markedAt: control.pointee.caching.marker(of: stack)))
    let exchange = control.pointee.exchange
    let section = takeLock()
    if mayCache, exchangeFull(record, section.held) {
      depot.noteReturned(exchange, section.held)
      unlock(section)
      record.push(stack, at: record.pointee.count, off)
      mark(stack, .cached(stack))
      return
    }
    if mayCache, exchange == 0, depot.count < depot.bound {
      completeBeforePassingOn()
      // Marked before anybody else can take it.
      mark(stack, .cached(stack))
      depot.put(stack, section.held)
      depot.noteReturned(1, section.held)
      unlock(section)
      return
    }
    depot.noteReturned(1, section.held)
    unlock(section)
    record.pointee.overflows &+= 1
    _ = giveUp(stack, off)
  }

  /// Moves a magazine's oldest stacks to the depot if there is room for them.
  ///
  /// - Returns: whether the magazine has room now.
  private func exchangeFull(_ record: UnsafeMutablePointer<CPURecord>, _ held: borrowing LockHeld) -> Bool {
    guard depot.canTakeOldest(of: record, held) else { return false }
    completeBeforePassingOn()
    depot.takeOldest(of: record, held)
    return true
  }

  /// Takes a stack off its group's charge if it is charged, then frees it like any other; it is not linear.
  @inline(never)
  func freeUncharging(
    _ stack: PackedStack, _ record: UnsafeMutablePointer<CPURecord>, _ off: borrowing InterruptsOff
  ) {
    let freed = stack.isCharged ? uncharged(stack) : stack
    if !cache(freed, in: record, off) { freeToDepotOrRetire(freed, record, off) }
  }

  /// Frees while another CPU has asked for what this one keeps: this stack and a cached one are unmapped, until the
  /// magazine is empty.
  @inline(never)
  private func freeOnRequest(
    _ stack: PackedStack, _ record: UnsafeMutablePointer<CPURecord>, _ off: borrowing InterruptsOff
  ) {
    record.pointee.overflows &+= 1
    noteReturned(record.pointee.count > 0 ? 2 : 1)
    if let cached = record.popLast(off) { _ = giveUp(cached, off) }
    record.pointee.owesCompletion = 1
    if record.pointee.count == 0 { allowCaching(record) }
    _ = giveUp(stack, off)
  }

  /// Records `count` stacks as returned in the depot's demand estimate.
  func noteReturned(_ count: Int) {
    let section = takeLock()
    depot.noteReturned(count, section.held)
    unlock(section)
  }
}
