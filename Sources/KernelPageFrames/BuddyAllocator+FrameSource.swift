// Allocation and freeing of page frames, by all CPUs at once; for a single frame, without a lock as a rule.

import KernelMachine

extension BuddyAllocator: FrameSource {
  /// Hands out a block.
  ///
  /// A single frame comes from the lists of the current CPU, without a lock, if the CPU's node is the preferred one. The
  /// preferred node serves first, then the nodes numbered above it, then those below. If the map does not have the current
  /// CPU's node, node 0 stands for it. Before a request is refused, free frames in the lists of all CPUs are merged.
  ///
  /// - Returns: the first frame of a block of `1 << request.order` frames, aligned to its size.
  /// - Throws: ``FrameSourceError/invalidOrder(_:)``, ``FrameSourceError/unknownNode(_:)`` or
  ///   ``FrameSourceError/refused(_:)``; nothing has changed then.
  /// - Complexity: O(nodes), and at most 10 splits for a block or a batch of frames; before a refusal, all listed frames
  ///   are merged.
  @inline(__always)
  public borrowing func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    if request.order == 0 {
      if let frame = takeListed(request) { return frame }
      let frame = takeRefilling(request)
      if frame != Self.noBlock { return frame }
    }
    return try allocateSlowly(request)
  }

  /// Hands out several single frames, which need not be contiguous.
  ///
  /// If the current CPU's list holds as many, they leave it in one step, without a lock.
  ///
  /// - Throws: as ``allocate(_:)``; the caller owns the frames that `body` has got by then.
  /// - Complexity: O(count).
  public borrowing func allocate(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) throws(FrameSourceError) {
    guard request.order == 0 else { throw .invalidOrder(request.order) }
    guard count > 0 else { return }
    var chain = takeListed(request, count: count)
    var isDirty = false
    if chain.count == 0 {
      let refilled = takeRefilling(request, count: count)
      chain = refilled.chain
      isDirty = request.cleared && refilled.contents == .unknown
    }
    var index = chain.first
    var left = chain.count
    while left > 0 {
      let next = (records + Int(truncatingIfNeeded: index)).next
      let frame = handOut(index, purpose: request.purpose)
      if isDirty { machine.clear(machine.linearAddress(of: frame), byteCount: 4096) }
      body(frame)
      index = next
      left &-= 1
    }
    if isDirty { noteCleared(chain.count) }
    // The list had fewer, and could not be filled: one by one, as many as there are.
    left = count &- chain.count
    while left > 0 {
      body(try allocate(request))
      left &-= 1
    }
  }

  /// Hands out single frames of one of the current CPU's lists, all of them or none.
  ///
  /// If the list has fewer, it is refilled from the CPU's node, under the node's lock.
  ///
  /// - Complexity: O(count), plus two batches of frames.
  @inline(__always) public borrowing func allocateTogether(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) -> FrameContents? {
    guard request.order == 0, let own = ownLists(),
      request.node == nil || request.node?.index == own.pointee.homeNode
    else { return nil }
    var contents: FrameContents = request.cleared ? .zeroed : .unknown
    var chain = FrameListWord.empty
    if count == 1 {
      if let index = request.cleared ? pop(own.pointee.zeroed) : pop(own.pointee.ready) {
        body(handOut(index, purpose: request.purpose))
        return contents
      }
      if request.cleared, hasNoZeroed(own), let index = pop(own.pointee.ready) {
        body(handOut(index, purpose: request.purpose))
        return .unknown
      }
    } else {
      chain =
        request.cleared ? popChain(count, of: own.pointee.zeroed) : popChain(count, of: own.pointee.ready)
    }
    if chain.count == 0 {
      (chain, contents) = takeRefilling(own, count: count, cleared: request.cleared)
      if chain.count == 0 { return nil }
    }
    var index = chain.first
    var left = count
    repeat {
      let next = (records + Int(truncatingIfNeeded: index)).next
      body(handOut(index, purpose: request.purpose))
      index = next
      left &-= 1
    } while left > 0
    return contents
  }

  /// Frees a block that ``allocate(_:)`` handed out with this order, and merges it with its free buddies.
  ///
  /// A single frame goes to the list of the current CPU, without a lock, if it is of the CPU's node. It is merged when the
  /// list is full, or before a request would be refused.
  ///
  /// - Throws: ``FrameSourceError/invalidOrder(_:)``, ``FrameSourceError/foreignFrame(_:)``,
  ///   ``FrameSourceError/doubleFree(_:)`` or ``FrameSourceError/wrongOrder(_:order:)``; nothing has changed then.
  /// - Complexity: O(ranges of RAM), and at most 10 merges for a block, or for each frame of a batch.
  @inline(__always)
  public borrowing func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    if order == 0, listedCPUs != 0 {
      guard let range = range(of: frame) else { throw .foreignFrame(frame) }
      return try putListed(UInt32(truncatingIfNeeded: frame.number &- range.pointee.bias), of: range)
    }
    return try freeBlock(frame, order: order)
  }

  /// The node that a frame belongs to; node 0 for a frame that is not RAM.
  ///
  /// - Complexity: O(ranges of RAM).
  public borrowing func node(of frame: PageFrame) -> NodeID {
    NodeID(range(of: frame)?.pointee.node ?? 0)
  }

  /// Whether a frame is RAM that this allocator manages.
  ///
  /// - Complexity: O(ranges of RAM).
  public borrowing func contains(_ frame: PageFrame) -> Bool { range(of: frame) != nil }
}

extension BuddyAllocator {
  /// The absence of a block; no physical address has such a frame number.
  static var noBlock: PageFrame { PageFrame(UInt.max) }

  /// Frees a block under its node's lock; a single frame too where no CPU keeps lists.
  @inline(never)
  borrowing func freeBlock(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    guard UInt(bitPattern: order) <= 10 else { throw .invalidOrder(order) }
    guard let range = range(of: frame) else { throw .foreignFrame(frame) }
    let index = UInt32(truncatingIfNeeded: frame.number &- range.pointee.bias)
    let lists = FreeLists(records: records, node: nodes + range.pointee.node)
    let state = machine.lock(lists.lock)
    let tag = lists.record(index).tag
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

  /// The range of RAM that holds a frame.
  @inline(__always) borrowing func range(of frame: PageFrame) -> UnsafeMutablePointer<RangeRecord>? {
    // There is at least one range, or there would be no allocator.
    var range = ranges
    repeat {
      if frame.number &- range.pointee.firstFrame < range.pointee.frameCount { return range }
      range += 1
    } while range < rangesEnd
    return nil
  }
}
