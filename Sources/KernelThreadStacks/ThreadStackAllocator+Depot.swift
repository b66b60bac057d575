// The depot: freed stacks that all CPUs share, between the magazines and the frame source.
//
//     CPU 0             CPU 1                          an exchange moves half a magazine, under one lock:
//     +----------+      +----------+                     free into a full magazine   its oldest stacks -> depot
//     | magazine |      | magazine |                     allocate from an empty one  depot -> magazine
//     +----------+      +----------+
//          \    exchange     /                         so a CPU that only allocates, or only frees, takes the lock once
//           v               v                          for each half magazine, and one that does both, never
//     +-----------------------------+
//     | depot of node 0 | of node 1 |   at most as many stacks as were lately wanted (StackDemand), and never more than
//     +-----------------------------+   StackConfiguration.depotStacks
//                  | what is too much: a few stacks at a time
//                  v
//          ring, invalidation, frame source
//
// All of it is guarded by the allocator's lock: what touches it takes a LockHeld.

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// How many stacks the depot keeps now.
  @inline(__always) var depotBound: Int {
    let wanted = shared.pointee.demand.wanted
    return wanted < layout.depotLimit ? wanted : layout.depotLimit
  }

  /// Moves a magazine's oldest stacks to the depot if there is room for them.
  ///
  /// - Returns: whether the magazine has room now.
  func exchangeFull(_ record: UnsafeMutablePointer<CPURecord>, _ held: borrowing LockHeld) -> Bool {
    let count = record.pointee.count
    let moved = control.pointee.exchange
    guard moved > 0, moved <= count, shared.pointee.depotCount &+ moved <= depotBound else { return false }
    completeBeforePassingOn()
    let stacks = record.magazine
    var index = 0
    while index < moved {
      putIntoDepot(stacks[index], held)
      index &+= 1
    }
    while index < count {
      stacks[index &- moved] = stacks[index]
      index &+= 1
    }
    record.pointee.count = count &- moved
    return true
  }

  /// Puts one stack into its node's depot, which has room.
  @inline(__always) func putIntoDepot(_ stack: PackedStack, _ held: borrowing LockHeld) {
    let count = depotCount(ofNode: stack.node)
    depot(ofNode: stack.node)[count.pointee] = stack
    count.pointee &+= 1
    shared.pointee.depotCount &+= 1
  }

  /// Takes a stack of a node out of the depot, which has one, and some more for the magazine.
  @inline(never) func takeFromDepot(
    node: Int, _ record: UnsafeMutablePointer<CPURecord>, _ held: borrowing LockHeld
  ) -> PackedStack {
    let count = depotCount(ofNode: node)
    var left = count.pointee
    let stacks = depot(ofNode: node)
    left &-= 1
    let stack = stacks[left]
    let limit = record.pointee.magazineLimit
    var cached = record.pointee.count
    var more = control.pointee.exchange &- 1
    while more > 0, left > 0, cached < limit {
      left &-= 1
      record.magazine[cached] = stacks[left]
      cached &+= 1
      more &-= 1
    }
    record.pointee.count = cached
    let taken = count.pointee &- left
    count.pointee = left
    shared.pointee.depotCount &-= taken
    shared.pointee.demand.take(taken)
    return stack
  }

  /// Takes a stack of a node out of the depot for its new owner, and some more for the magazine.
  @inline(__always) func takeFromDepot(
    node: Int, _ record: UnsafeMutablePointer<CPURecord>, unlocking section: consuming LockSection
  ) -> PackedStack {
    let stack = takeFromDepot(node: node, record, section.held)
    unlock(section)
    mark(stack, .live(stack))
    return stack
  }

  /// Takes any stack out of the depots, to give it back.
  func takeAnyFromDepot(_ held: borrowing LockHeld) -> PackedStack? {
    guard shared.pointee.depotCount > 0 else { return nil }
    var node = layout.nodeCount &- 1
    while node > 0, depotCount(ofNode: node).pointee == 0 { node &-= 1 }
    let count = depotCount(ofNode: node)
    guard count.pointee > 0 else { return nil }
    count.pointee &-= 1
    shared.pointee.depotCount &-= 1
    return depot(ofNode: node)[count.pointee]
  }

  /// Takes out and unmaps stacks until their frames reach `target`, or no more than `kept` are left.
  ///
  /// The lock is not held. It completes no invalidation but those of full batches.
  ///
  /// - Returns: how many frames have gone back by then.
  @inline(never) func trimDepot(
    downTo kept: Int, target: Int, _ off: borrowing InterruptsOff
  ) -> Int {
    var given = 0
    var promised = 0
    while promised < target {
      let section = takeLock()
      let stack = shared.pointee.depotCount > kept ? takeAnyFromDepot(section.held) : nil
      unlock(section)
      guard let stack else { break }
      promised &+= control.pointee.initialPages
      given &+= giveUp(stack, off)
    }
    return given
  }

  /// Gives back stacks of the depot until their frames reach `target`.
  func emptyDepot(target: Int) -> Int {
    let interrupts = turnInterruptsOff()
    let given = trimDepot(downTo: 0, target: target, interrupts.off)
    restore(interrupts)
    return given &+ completeRetirement()
  }

  // MARK: What time does

  /// How many stacks one call of ``age()`` unmaps at most.
  static var stacksPerPeriod: Int { 16 }

  /// Ends a period: what was wanted in it is remembered, what was wanted before counts a quarter less, and a few of the
  /// stacks that nobody has wanted go back.
  ///
  /// Whoever has a clock calls it, about once a second, on one CPU. Without it, the depot keeps what it once was worth
  /// keeping until memory runs short. It takes only spin locks, and at most one invalidation.
  ///
  /// - Returns: how many frames went back.
  /// - Complexity: O(1); it unmaps at most 16 stacks.
  @discardableResult
  public borrowing func age() -> Int {
    let interrupts = turnInterruptsOff()
    let section = takeLock()
    shared.pointee.demand.endPeriod()
    let kept = depotBound
    let surplus = shared.pointee.depotCount &- kept
    unlock(section)
    var given = 0
    if surplus > 0 {
      let unmapped = surplus < Self.stacksPerPeriod ? surplus : Self.stacksPerPeriod
      let target = unmapped &* control.pointee.initialPages
      given = trimDepot(downTo: kept, target: target, interrupts.off)
    }
    given &+= completeRetirement()
    restore(interrupts)
    return given
  }

  // MARK: Figures

  /// How many freed stacks the depot holds.
  public var depotStackCount: Int { shared.pointee.depotCount }

  /// How many freed stacks the depot would hold at most now: what recent demand makes worth keeping, up to
  /// ``StackConfiguration/depotStacks``.
  public var depotStackLimit: Int { depotBound }

  // MARK: Where it is

  @inline(__always) func depotCount(ofNode node: Int) -> UnsafeMutablePointer<Int> {
    (metadata + layout.depotOffset).assumingMemoryBound(to: Int.self) + node
  }

  @inline(__always) func depot(ofNode node: Int) -> UnsafeMutablePointer<PackedStack> {
    (metadata + layout.depotOffset + (layout.nodeCount &+ node &* layout.depotLimit) &* 8)
      .assumingMemoryBound(to: PackedStack.self)
  }
}
