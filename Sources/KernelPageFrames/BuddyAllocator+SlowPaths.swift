// The slow paths, and the steps that hold one lock. Each slow path is a tail call, so that the fast paths need not save
// a register for it.

import KernelMachine
import Synchronization

extension BuddyAllocator {
  /// The node that a request prefers.
  borrowing func preferredNode(_ request: FrameRequest) throws(FrameSourceError) -> Int {
    guard let node = request.node else { return homeNode() }
    guard isNode(node) else { throw .unknownNode(node) }
    return node.index
  }

  /// Allocates a block, or a frame that the current CPU's lists could not serve, under the nodes' locks.
  @inline(never)
  borrowing func allocateSlowly(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    guard UInt(bitPattern: request.order) <= 10 else { throw .invalidOrder(request.order) }
    let preferred = try preferredNode(request)
    let frame = takeBlock(order: request.order, node: preferred, purpose: request.purpose)
    if frame == Self.noBlock { return try allocateElsewhere(request, preferred: preferred) }
    return request.cleared ? clear(frame, order: request.order) : frame
  }

  /// Takes a block from one node.
  ///
  /// - Returns: its first frame, or ``noBlock``.
  @inline(__always) borrowing func takeBlock(
    order: Int, node: Int, purpose: FramePurpose
  ) -> PageFrame {
    let lists = FreeLists(records: records, node: nodes + node)
    let state = machine.lock(lists.lock)
    let index = takeBlock(order: order, from: lists, purpose: purpose)
    machine.unlock(lists.lock, restoring: state)
    return index == Self.noIndex ? Self.noBlock : frame(at: index)
  }

  /// Takes a block from a node whose lock is held.
  ///
  /// - Returns: the index of its first frame, or ``noIndex``.
  @inline(__always) borrowing func takeBlock(
    order: Int, from lists: FreeLists, purpose: FramePurpose
  ) -> UInt32 {
    let available = lists.node.pointee.nonEmptyOrders &>> UInt(truncatingIfNeeded: order)
    guard available != 0 else { return Self.noIndex }
    let found = order &+ available.trailingZeroBitCount
    let index = lists.pop(order: found)
    let tag = lists.record(index).tag
    if found != order { lists.split(index, from: found, to: order, range: tag) }
    lists.record(index).tag = tag.with(state: FrameState.used, order: order, purpose: purpose.rawValue)
    lists.node.pointee.freeFrames &-= 1 &<< order
    return index
  }

  /// The frame that has the record with this index.
  @inline(__always) borrowing func frame(at index: UInt32) -> PageFrame {
    let tag = (records + Int(truncatingIfNeeded: index)).tag
    return PageFrame(UInt(truncatingIfNeeded: index) &+ ranges[tag.range].bias)
  }

  /// Takes a block from the nodes above the preferred one, then from those below it, then after draining lists and pools.
  @inline(never) borrowing func allocateElsewhere(
    _ request: FrameRequest, preferred: Int
  ) throws(FrameSourceError) -> PageFrame {
    var node = preferred
    var frame = Self.noBlock
    for _ in 1..<nodeCount where frame == Self.noBlock {
      node &+= 1
      if node == nodeCount { node = 0 }
      frame = takeBlock(order: request.order, node: node, purpose: request.purpose)
    }
    if frame == Self.noBlock, listedCPUs != 0 {
      pauseClearing()
      frame = takeDraining(request, preferred: preferred)
      resumeClearing()
    }
    guard frame == Self.noBlock else { return request.cleared ? clear(frame, order: request.order) : frame }
    throw .refused(
      FrameRefusal(
        order: request.order, purpose: request.purpose, freeFrames: freeFrames,
        largestFreeOrder: largestFreeOrder))
  }

  /// Clears a block that was just taken, before the caller knows of it.
  @inline(never) borrowing func clear(_ frame: PageFrame, order: Int) -> PageFrame {
    machine.clear(machine.linearAddress(of: frame), byteCount: 4096 &<< order)
    noteCleared(1 &<< order)
    return frame
  }

  /// Counts frames that were cleared because a request wanted zeroed ones.
  borrowing func noteCleared(_ count: Int) {
    clearedOnRequest.pointee.wrappingAdd(UInt(bitPattern: count), ordering: .relaxed)
  }

  /// Merges a freed block whose buddy is free, and releases the lock.
  @inline(never) borrowing func mergeAndPush(
    _ index: UInt32, order: Int, range: FrameTag, in lists: FreeLists, restoring state: InterruptState
  ) {
    lists.mergeAndPush(index, order: order, range: range)
    machine.unlock(lists.lock, restoring: state)
  }

  /// Releases the lock, then throws the reason why a block cannot be freed.
  @inline(never) borrowing func reject(
    _ frame: PageFrame, index: UInt32, order: Int, in lists: FreeLists, restoring state: InterruptState
  ) throws(FrameSourceError) {
    let tag = lists.block(at: index).tag
    machine.unlock(lists.lock, restoring: state)
    switch tag.state {
    case FrameState.free, FrameState.listed: throw .doubleFree(frame)
    case FrameState.used: throw .wrongOrder(frame, order: order)
    default: throw .foreignFrame(frame)
    }
  }

  /// Throws the reason why a single frame cannot be freed.
  @inline(never) borrowing func rejectListed(
    _ index: UInt32, of range: UnsafeMutablePointer<RangeRecord>
  ) throws(FrameSourceError) {
    let lists = FreeLists(records: records, node: nodes + range.pointee.node)
    let state = machine.lock(lists.lock)
    let frame = PageFrame(UInt(truncatingIfNeeded: index) &+ range.pointee.bias)
    try reject(frame, index: index, order: 0, in: lists, restoring: state)
  }
}
