// Splitting and merging of blocks, and what is said about those who get them wrong.
//
// A block of order 3 is split down to order 0: the lower half is kept, the upper half goes to the list below.
//
//   |               3               |
//   |       2       |       2 free  |
//   |   1   |   1f  |
//   | 0 | 0f|
//
// The lists of the orders in between are empty, or the block would have come from one of them.

import KernelMachine

extension BuddyAllocator {
  /// Takes a block from one node.
  ///
  /// - Returns: the number of its first frame, or ``noBlock``.
  @inlinable @inline(__always) borrowing func takeBlock(order: Int, node number: Int, purpose: FramePurpose)
    -> UInt
  {
    let node = nodes + number
    let state = machine.lock(lock(of: node))
    let available = node.pointee.nonEmptyOrders &>> UInt(truncatingIfNeeded: order)
    guard available != 0 else {
      machine.unlock(lock(of: node), restoring: state)
      return Self.noBlock
    }
    let lists = FreeLists(records: records, node: node)
    let found = order &+ available.trailingZeroBitCount
    let index = lists.pop(order: found)
    let tag = lists.record(index).pointee.tag
    if found != order { split(index, from: found, to: order, range: tag, in: lists) }
    lists.record(index).pointee.tag = tag.with(state: FrameState.used, order: order, purpose: purpose.rawValue)
    node.pointee.freeFrames &-= 1 &<< order
    machine.unlock(lock(of: node), restoring: state)
    return UInt(truncatingIfNeeded: index) &+ ranges[tag.range].bias
  }

  /// Takes a block from the nodes above the preferred one, then from those below it.
  @inlinable @inline(never) borrowing func takeBlockElsewhere(
    order: Int, preferred: Int, purpose: FramePurpose
  ) -> UInt {
    var node = preferred
    for _ in 1..<max(nodeCount, 1) {
      node &+= 1
      if node == nodeCount { node = 0 }
      let block = takeBlock(order: order, node: node, purpose: purpose)
      if block != Self.noBlock { return block }
    }
    return Self.noBlock
  }

  /// Gives the upper halves of a block to the lists of the orders below it, which are empty. Under the node's lock.
  @inlinable @inline(__always) borrowing func split(
    _ index: UInt32, from found: Int, to order: Int, range: FrameTag, in lists: FreeLists
  ) {
    var half = found
    repeat {
      half &-= 1
      lists.pushFirst(
        index &+ 1 &<< UInt32(truncatingIfNeeded: half), order: half,
        tag: range.with(state: FrameState.free, order: half))
    } while half > order
    lists.node.pointee.nonEmptyOrders |=
      1 &<< UInt(truncatingIfNeeded: found) &- 1 &<< UInt(truncatingIfNeeded: order)
  }

  /// Merges a block with its buddy as long as that is free too, then puts it into its list. Under the node's lock.
  @inlinable @inline(__always) borrowing func giveBack(
    _ first: UInt32, order freed: Int, range: FrameTag, to lists: FreeLists
  ) {
    var index = first
    var order = freed
    while order < 10 {
      let bit: UInt32 = 1 &<< UInt32(truncatingIfNeeded: order)
      let buddy = index ^ bit
      guard lists.record(buddy).pointee.tag == range.with(state: FrameState.free, order: order) else { break }
      lists.remove(buddy, order: order)
      lists.record(index | bit).pointee.tag = range.with(state: FrameState.inside)
      index &= ~bit
      order &+= 1
    }
    lists.push(index, order: order, tag: range.with(state: FrameState.free, order: order))
    lists.node.pointee.freeFrames &+= 1 &<< freed
  }

  /// The record of the first frame of the block that a frame belongs to. Under the node's lock.
  ///
  /// Its index is the frame's with some low bits cleared; the first one on the way that doesn't say `inside` is it.
  @inlinable borrowing func blockTag(at index: UInt32) -> FrameTag {
    var head = index
    for order in 0..<Self.maximumOrder {
      head &= ~(1 &<< UInt32(truncatingIfNeeded: order) &- 1)
      let tag = records[Int(truncatingIfNeeded: head)].tag
      if tag.state != FrameState.inside { return tag }
    }
    return records[Int(truncatingIfNeeded: head & ~1023)].tag
  }

  /// Why a block cannot be taken back. Under the node's lock.
  @inlinable @inline(never) borrowing func misuse(of frame: PageFrame, index: UInt32, order: Int)
    -> FrameSourceError
  {
    switch blockTag(at: index).state {
    case FrameState.free: .doubleFree(frame)
    case FrameState.used: .wrongOrder(frame, order: order)
    default: .foreignFrame(frame)
    }
  }

  /// The figures of a refusal.
  @inlinable @inline(never) borrowing func refusal(of request: FrameRequest) -> FrameRefusal {
    FrameRefusal(
      order: request.order, purpose: request.purpose, freeFrames: freeFrames, largestFreeOrder: largestFreeOrder
    )
  }
}
