// One step under one lock, and what happens off the fast paths. Each slow path is the last thing its caller does, so
// that the fast paths need not save a register for them.

import KernelMachine

extension BuddyAllocator {
  /// Takes a block from one node.
  ///
  /// - Returns: its first frame, or ``noBlock``.
  @inlinable @inline(__always) borrowing func takeBlock(
    order: Int, node: Int, purpose: FramePurpose
  ) -> PageFrame {
    let lists = FreeLists(records: records, node: nodes + node)
    let state = machine.lock(lists.lock)
    let available = lists.node.pointee.nonEmptyOrders &>> UInt(truncatingIfNeeded: order)
    guard available != 0 else {
      machine.unlock(lists.lock, restoring: state)
      return Self.noBlock
    }
    let found = order &+ available.trailingZeroBitCount
    let index = lists.pop(order: found)
    let tag = lists.record(index).pointee.tag
    if found != order { lists.split(index, from: found, to: order, range: tag) }
    lists.record(index).pointee.tag = tag.with(state: FrameState.used, order: order, purpose: purpose.rawValue)
    lists.node.pointee.freeFrames &-= 1 &<< order
    machine.unlock(lists.lock, restoring: state)
    return PageFrame(UInt(truncatingIfNeeded: index) &+ ranges[tag.range].bias)
  }

  /// Takes a block from the nodes above the preferred one, then from those below it.
  @inlinable @inline(never) borrowing func allocateElsewhere(
    _ request: FrameRequest, preferred: Int
  ) throws(FrameSourceError) -> PageFrame {
    var node = preferred
    for _ in 1..<nodeCount {
      node &+= 1
      if node == nodeCount { node = 0 }
      let frame = takeBlock(order: request.order, node: node, purpose: request.purpose)
      if frame != Self.noBlock { return request.cleared ? clear(frame, order: request.order) : frame }
    }
    throw .refused(
      FrameRefusal(
        order: request.order, purpose: request.purpose, freeFrames: freeFrames,
        largestFreeOrder: largestFreeOrder))
  }

  /// Clears a block that nobody else knows of yet.
  @inlinable @inline(never) borrowing func clear(_ frame: PageFrame, order: Int) -> PageFrame {
    machine.clear(machine.linearAddress(of: frame), byteCount: 4096 &<< order)
    return frame
  }

  /// The rest of giving back when the buddy is free, up to the release of the lock.
  @inlinable @inline(never) borrowing func mergeAndPush(
    _ index: UInt32, order: Int, range: FrameTag, in lists: FreeLists, restoring state: InterruptState
  ) {
    lists.mergeAndPush(index, order: order, range: range)
    machine.unlock(lists.lock, restoring: state)
  }

  /// Releases the lock, then says why a block cannot be taken back.
  @inlinable @inline(never) borrowing func reject(
    _ frame: PageFrame, index: UInt32, order: Int, in lists: FreeLists, restoring state: InterruptState
  ) throws(FrameSourceError) {
    let tag = lists.blockTag(at: index)
    machine.unlock(lists.lock, restoring: state)
    switch tag.state {
    case FrameState.free: throw .doubleFree(frame)
    case FrameState.used: throw .wrongOrder(frame, order: order)
    default: throw .foreignFrame(frame)
    }
  }
}
