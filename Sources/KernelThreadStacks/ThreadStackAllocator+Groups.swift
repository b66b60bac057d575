// Groups with a limit on stack memory: their making and their end, charging stacks to them, and the way back.

import KernelMachine
import Synchronization

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Makes a group.
  ///
  /// - Parameter limitFrames: how many page frames the stacks of the group may have.
  /// - Throws: ``ThreadStackError/invalidGroupLimit(_:)`` for a negative limit, or
  ///   ``ThreadStackError/groupsExhausted(capacity:)`` when there are ``StackConfiguration/stackGroups`` of
  ///   them.
  /// - Complexity: O(groups).
  public borrowing func makeGroup(limitFrames: Int) throws(ThreadStackError) -> StackGroupID {
    guard limitFrames >= 0 else { throw .invalidGroupLimit(limitFrames) }
    let section = takeLock()
    var index = 0
    while index < layout.stackGroupCount, stackGroup(index).pointee.limit >= 0 { index &+= 1 }
    if index < layout.stackGroupCount {
      stackGroup(index).initialize(to: StackGroupRecord(limit: limitFrames))
    }
    unlock(section)
    guard index < layout.stackGroupCount else { throw .groupsExhausted(capacity: layout.stackGroupCount) }
    return StackGroupID(index)
  }

  /// Changes a group's limit.
  ///
  /// One that is below what the group has takes nothing from it, but it gets no stack before it has less.
  ///
  /// - Throws: ``ThreadStackError/invalidGroupLimit(_:)`` or ``ThreadStackError/unknownGroup(_:)``.
  public borrowing func setLimit(
    of group: StackGroupID, toFrames limitFrames: Int
  ) throws(ThreadStackError) {
    guard limitFrames >= 0 else { throw .invalidGroupLimit(limitFrames) }
    let section = takeLock()
    let isKnown = isGroup(group, section.held)
    if isKnown {
      // What CPUs have in advance was within the old limit.
      takeCreditBack(group.index, section.held)
      stackGroup(group.index).pointee.limit = limitFrames
      stackGroup(group.index).pointee.noteBeyond()
    }
    unlock(section)
    guard isKnown else { throw .unknownGroup(group) }
  }

  /// Removes a group that has no stacks; nobody may be asking for one meanwhile.
  ///
  /// - Throws: ``ThreadStackError/groupInUse(_:chargedFrames:)`` or ``ThreadStackError/unknownGroup(_:)``.
  /// - Complexity: O(CPUs).
  public borrowing func removeGroup(_ group: StackGroupID) throws(ThreadStackError) {
    let section = takeLock()
    let isKnown = isGroup(group, section.held)
    var charged = 0
    if isKnown {
      takeCreditBack(group.index, section.held)
      charged = stackGroup(group.index).pointee.taken
      if charged == 0 { stackGroup(group.index).pointee.limit = -1 }
    }
    unlock(section)
    guard isKnown else { throw .unknownGroup(group) }
    guard charged == 0 else { throw .groupInUse(group, chargedFrames: charged) }
  }

  /// What is charged to a group, to the frame.
  ///
  /// It is exact when no other CPU is allocating, freeing or growing meanwhile.
  ///
  /// - Throws: ``ThreadStackError/unknownGroup(_:)``.
  /// - Complexity: O(CPUs).
  public borrowing func figures(
    of group: StackGroupID
  ) throws(ThreadStackError) -> StackGroupFigures {
    let section = takeLock()
    let isKnown = isGroup(group, section.held)
    var charged = 0
    var limit = 0
    var refusals = 0
    if isKnown {
      let record = stackGroup(group.index)
      charged = record.pointee.taken
      limit = record.pointee.limit
      refusals = record.pointee.refusals
      for cpu in 0..<layout.cpuCount {
        charged &-= control.pointee.credit(ofCPU: cpu, group: group.index).pointee.load(ordering: .relaxed)
      }
    }
    unlock(section)
    guard isKnown else { throw .unknownGroup(group) }
    return StackGroupFigures(chargedFrames: charged, limitFrames: limit, refusals: refusals)
  }

  // MARK: Stacks of a group

  /// Hands out a stack, as ``allocate(node:)`` does, that is charged to a group as long as it is in use.
  ///
  /// What it has from the start is within the limit, or it is refused. What it grows by is charged too, but
  /// never refused: a growth fault cannot fail. While stacks have grown beyond the limit, other CPUs may still
  /// hand out what they have been given in advance. Cached stacks are charged to nobody.
  ///
  /// - Throws: also ``ThreadStackError/groupLimit(_:)`` or ``ThreadStackError/unknownGroup(_:)``; nothing is
  ///   charged then.
  /// - Complexity: O(1); every ``StackConfiguration/chargeBatch`` frames it takes a lock, and near the limit it
  ///   looks at each CPU.
  public borrowing func allocate(
    node: NodeID?, chargedTo group: StackGroupID
  ) throws(ThreadStackError) -> ThreadStack {
    let frames = control.pointee.initialPages
    try charge(frames, to: group)
    do throws(ThreadStackError) {
      let stack = try allocate(node: node)
      let charged = PackedStack(word: stack.take().word | PackedStack.chargedBit)
      mark(charged, StackMarker.live(charged).withGroup(group.index))
      return ThreadStack(charged, control: control)
    } catch {
      uncharge(frames, from: group.index)
      throw error
    }
  }

  /// The group that a stack in use is charged to; `nil` for one that is charged to none.
  public borrowing func group(of stack: borrowing ThreadStack) -> StackGroupID? {
    guard stack.packed.isCharged else { return nil }
    return StackGroupID(marker(ofSlot: slot(ofBase: stack.base)).group)
  }

  // MARK: Charges

  /// Charges frames to a group, or refuses.
  borrowing func charge(_ frames: Int, to group: StackGroupID) throws(ThreadStackError) {
    guard UInt(bitPattern: group.index) < UInt(bitPattern: layout.stackGroupCount) else {
      throw .unknownGroup(group)
    }
    let interrupts = turnInterruptsOff()
    let isCharged = control.pointee.chargeFromCredit(
      frames, group: group.index, cpu: machine.currentCPU, interrupts.off)
    restore(interrupts)
    if !isCharged { try chargeUnderLock(frames, to: group) }
  }

  /// The rest of `charge`: this CPU has too little credit.
  @inline(never)
  borrowing func chargeUnderLock(_ frames: Int, to group: StackGroupID) throws(ThreadStackError) {
    let section = takeLock()
    let record = stackGroup(group.index)
    guard isGroup(group, section.held) else {
      unlock(section)
      throw .unknownGroup(group)
    }
    let credit = control.pointee.credit(ofCPU: machine.currentCPU, group: group.index)
    record.pointee.taken &-= credit.pointee.exchange(0, ordering: .relaxed)
    settleDebts(group.index, section.held)
    // Compared as a rest: a limit may be as large as any number.
    let batch = StackControl.chargeBatch
    if record.pointee.limit &- record.pointee.taken >= frames &+ batch {
      record.pointee.taken &+= frames &+ batch
      credit.pointee.wrappingAdd(batch, ordering: .relaxed)
      unlock(section)
      return
    }
    takeCreditBack(group.index, section.held)
    let charged = record.pointee.taken
    let limit = record.pointee.limit
    let isWithin = limit &- charged >= frames
    if isWithin {
      record.pointee.taken = charged &+ frames
    } else {
      record.pointee.refusals &+= 1
    }
    record.pointee.noteBeyond()
    unlock(section)
    guard isWithin else {
      throw .groupLimit(
        StackGroupRefusal(
          group: group, requestedFrames: frames, chargedFrames: charged, limitFrames: limit))
    }
  }

  /// Takes back what all CPUs have in advance for a group; `taken` is what is charged then.
  borrowing func takeCreditBack(_ group: Int, _ held: borrowing LockHeld) {
    for cpu in 0..<layout.cpuCount {
      stackGroup(group).pointee.taken &-=
        control.pointee.credit(ofCPU: cpu, group: group).pointee.exchange(0, ordering: .relaxed)
    }
  }

  /// Charges what has grown on CPUs beyond their credit: what is in use is given to nobody in advance.
  borrowing func settleDebts(_ group: Int, _ held: borrowing LockHeld) {
    for cpu in 0..<layout.cpuCount {
      let credit = control.pointee.credit(ofCPU: cpu, group: group)
      if credit.pointee.load(ordering: .relaxed) < 0 {
        stackGroup(group).pointee.taken &-= credit.pointee.exchange(0, ordering: .relaxed)
      }
    }
  }

  /// Takes frames off a group's charge.
  borrowing func uncharge(_ frames: Int, from group: Int) {
    let interrupts = turnInterruptsOff()
    let credit = control.pointee.credit(ofCPU: machine.currentCPU, group: group)
    let there = credit.pointee.wrappingAdd(frames, ordering: .relaxed).newValue
    if there > 2 &* StackControl.chargeBatch || stackGroup(group).pointee.isBeyond.load(ordering: .relaxed) != 0
    {
      returnCredit(credit, group, interrupts.off)
    }
    restore(interrupts)
  }

  /// Gives back what a CPU has beyond a batch, or beyond the limit.
  @inline(never)
  borrowing func returnCredit(
    _ credit: UnsafeMutablePointer<Atomic<Int>>, _ group: Int, _ off: borrowing InterruptsOff
  ) {
    let section = takeLock()
    let record = stackGroup(group)
    // Another CPU may have taken some of it meanwhile.
    let there = credit.pointee.exchange(0, ordering: .relaxed)
    record.pointee.taken &-= there
    settleDebts(group, section.held)
    let rest = record.pointee.limit &- record.pointee.taken
    let batch = StackControl.chargeBatch
    let kept = max(0, min(min(there, batch), rest))
    record.pointee.taken &+= kept
    credit.pointee.wrappingAdd(kept, ordering: .relaxed)
    record.pointee.noteBeyond()
    unlock(section)
  }

  /// Takes a stack that is being freed off its group's charge, with all pages that it has.
  @inline(never) borrowing func uncharged(_ stack: PackedStack) -> PackedStack {
    let frames = stack.isGrowing ? backedCount(of: pages(ofBase: stack.base)) : geometry.pageCount
    uncharge(frames, from: marker(ofSlot: slot(ofBase: stack.base)).group)
    return PackedStack(word: stack.word & ~PackedStack.chargedBit)
  }

  // MARK: Where they are

  func stackGroup(_ index: Int) -> UnsafeMutablePointer<StackGroupRecord> {
    (metadata + layout.chargeOffset).assumingMemoryBound(to: StackGroupRecord.self) + index
  }

  /// Whether there is such a group.
  borrowing func isGroup(_ group: StackGroupID, _ held: borrowing LockHeld) -> Bool {
    UInt(bitPattern: group.index) < UInt(bitPattern: layout.stackGroupCount)
      && stackGroup(group.index).pointee.limit >= 0
  }
}
