// Handing out and taking back: the two operations that everything else is measured by.

import KernelMachine

extension BuddyAllocator: FrameSource {
  /// Hands out a block.
  ///
  /// The preferred node serves first, then the nodes numbered above it, then those below. A node that cannot be named
  /// because it has no memory (the current CPU's, for example) counts as node 0.
  ///
  /// - Returns: the first frame of a block of `1 << request.order` frames, aligned to its size.
  /// - Throws: ``FrameSourceError/invalidOrder(_:)``, ``FrameSourceError/unknownNode(_:)`` or
  ///   ``FrameSourceError/refused(_:)``; nothing has changed then.
  /// - Complexity: O(1): at most 10 splits, and a look at each node.
  @inlinable public borrowing func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    let order = request.order
    guard UInt(bitPattern: order) <= 10 else { throw .invalidOrder(order) }
    var preferred: Int
    if let node = request.node {
      preferred = node.index
      guard UInt(bitPattern: preferred) < UInt(bitPattern: nodeCount) else { throw .unknownNode(node) }
    } else {
      preferred = machine.currentNode.index
      if UInt(bitPattern: preferred) >= UInt(bitPattern: nodeCount) { preferred = 0 }
    }
    let frame = takeBlock(order: order, node: preferred, purpose: request.purpose)
    if frame == Self.noBlock { return try allocateElsewhere(request, preferred: preferred) }
    return request.cleared ? clear(frame, order: order) : frame
  }

  /// Takes back a block that ``allocate(_:)`` handed out with this order, and merges it with its free buddies.
  ///
  /// - Throws: ``FrameSourceError/invalidOrder(_:)``, ``FrameSourceError/foreignFrame(_:)``,
  ///   ``FrameSourceError/doubleFree(_:)`` or ``FrameSourceError/wrongOrder(_:order:)``; nothing has changed then.
  /// - Complexity: O(ranges of RAM), and at most 10 merges.
  @inlinable public borrowing func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    guard UInt(bitPattern: order) <= 10 else { throw .invalidOrder(order) }
    guard let range = range(of: frame) else { throw .foreignFrame(frame) }
    let index = UInt32(truncatingIfNeeded: frame.number &- range.pointee.bias)
    let lists = FreeLists(records: records, node: nodes + range.pointee.node)
    let state = machine.lock(lists.lock)
    let tag = lists.record(index).pointee.tag
    guard tag.stateAndOrder == FrameState.used &<< 4 | UInt32(truncatingIfNeeded: order) else {
      return try reject(frame, index: index, order: order, in: lists, restoring: state)
    }
    if lists.canMerge(index, order: order, range: tag) {
      return mergeAndPush(index, order: order, range: tag, in: lists, restoring: state)
    }
    lists.push(index, order: order, tag: tag.with(state: FrameState.free, order: order))
    lists.node.pointee.freeFrames &+= 1 &<< order
    machine.unlock(lists.lock, restoring: state)
  }

  /// The node that a frame belongs to; node 0 for a frame that is not RAM.
  ///
  /// - Complexity: O(ranges of RAM).
  @inlinable public borrowing func node(of frame: PageFrame) -> NodeID {
    NodeID(range(of: frame)?.pointee.node ?? 0)
  }
}

extension BuddyAllocator {
  /// Stands for the absence of a block; no physical address has such a frame number.
  @inlinable static var noBlock: PageFrame { PageFrame(UInt.max) }

  /// The range of RAM that holds a frame.
  @inlinable @inline(__always) borrowing func range(of frame: PageFrame) -> UnsafeMutablePointer<RangeRecord>? {
    // There is at least one range, or there would be no allocator.
    var range = ranges
    repeat {
      if frame.number &- range.pointee.firstFrame < range.pointee.frameCount { return range }
      range += 1
    } while range < rangesEnd
    return nil
  }
}
