// Groups with a limit on stack memory: their making and their end, charging stacks to them, and the way back.

import KernelMachine

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
    let index = accounts.open(limit: limitFrames, section.held)
    unlock(section)
    guard let index else { throw .groupsExhausted(capacity: layout.stackGroupCount) }
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
    let isKnown = accounts.setLimit(of: group.index, to: limitFrames, section.held)
    unlock(section)
    guard isKnown else { throw .unknownGroup(group) }
  }

  /// Removes a group that has no stacks; nobody may be asking for one meanwhile.
  ///
  /// - Throws: ``ThreadStackError/groupInUse(_:chargedFrames:)`` or ``ThreadStackError/unknownGroup(_:)``.
  /// - Complexity: O(CPUs).
  public borrowing func removeGroup(_ group: StackGroupID) throws(ThreadStackError) {
    let section = takeLock()
    let charged = accounts.close(group.index, section.held)
    unlock(section)
    guard let charged else { throw .unknownGroup(group) }
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
    let figures = accounts.figures(of: group.index, section.held)
    unlock(section)
    guard let figures else { throw .unknownGroup(group) }
    return figures
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
    let isCharged = accounts.chargeFromCredit(
      frames, to: group.index, cpu: machine.currentCPU, interrupts.off)
    restore(interrupts)
    if !isCharged { try chargeUnderLock(frames, to: group) }
  }

  /// The rest of `charge`: this CPU has too little credit.
  @inline(never)
  private borrowing func chargeUnderLock(_ frames: Int, to group: StackGroupID) throws(ThreadStackError) {
    let section = takeLock()
    let result = accounts.charge(frames, to: group.index, cpu: machine.currentCPU, section.held)
    unlock(section)
    switch result {
    case .charged: return
    case .unknownGroup: throw .unknownGroup(group)
    case .beyondLimit(let charged, let limit):
      throw .groupLimit(
        StackGroupRefusal(
          group: group, requestedFrames: frames, chargedFrames: charged, limitFrames: limit))
    }
  }

  /// Takes frames off a group's charge.
  borrowing func uncharge(_ frames: Int, from group: Int) {
    let interrupts = turnInterruptsOff()
    let cpu = machine.currentCPU
    if accounts.uncharge(frames, from: group, cpu: cpu, interrupts.off) { returnCredit(of: group, cpu: cpu) }
    restore(interrupts)
  }

  /// Gives back what a CPU has beyond a batch, or beyond the limit.
  @inline(never) private borrowing func returnCredit(of group: Int, cpu: Int) {
    let section = takeLock()
    accounts.returnCredit(of: group, cpu: cpu, section.held)
    unlock(section)
  }

  /// Takes a stack that is being freed off its group's charge, with all pages that it has.
  @inline(never) borrowing func uncharged(_ stack: PackedStack) -> PackedStack {
    let frames = stack.isGrowing ? backedCount(of: pages(ofBase: stack.base)) : geometry.pageCount
    uncharge(frames, from: marker(ofSlot: slot(ofBase: stack.base)).group)
    return PackedStack(word: stack.word & ~PackedStack.chargedBit)
  }
}
