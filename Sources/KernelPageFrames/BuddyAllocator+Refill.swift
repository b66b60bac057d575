// Moving frames between the current CPU's lists and its node, a batch at a time under the node's lock.
//
// Interrupts are off throughout, and the lists are the current CPU's: no other CPU adds to them, and a CPU that takes
// them away needs the node's lock as well. So under the lock a list changes only here.

import KernelMachine

extension BuddyAllocator {
  /// The current CPU's node; node 0 if the memory map does not have that number.
  borrowing func homeNode() -> Int {
    let node = machine.currentNode.index
    return UInt(bitPattern: node) < UInt(bitPattern: nodeCount) ? node : 0
  }

  /// The lists of the current CPU if they hold frames of a node; settles their home node at first use.
  @inline(__always) borrowing func ownLists(of node: Int) -> UnsafeMutablePointer<CPUFrameLists>? {
    guard let own = ownLists() else { return nil }
    if own.pointee.homeNode < 0 { own.pointee.settle(on: homeNode()) }
    return own.pointee.homeNode == node ? own : nil
  }

  /// Takes a single frame from the current CPU's lists, refilled from its node.
  ///
  /// - Returns: the frame, or ``noBlock``.
  @inline(never) borrowing func takeRefilling(_ request: FrameRequest) -> PageFrame {
    let node = request.node?.index ?? homeNode()
    let interrupts = machine.disableInterrupts()
    var index: UInt32?
    var isDirty = false
    if let own = ownLists(of: node) {
      // Read without the lock; a stale count costs a clearing that was not needed.
      if request.cleared, FreeLists(records: records, node: nodes + node).zeroedPool.count != 0 {
        fillZeroed(own, node: node)
        index = pop(own.pointee.zeroed)
      }
      if index == nil {
        isDirty = request.cleared
        index = pop(own.pointee.ready)
      }
      if index == nil {
        fillReady(own, node: node)
        index = pop(own.pointee.ready)
      }
      if index == nil {
        isDirty = false
        fillZeroed(own, node: node)
        index = pop(own.pointee.zeroed)
      }
    }
    machine.restoreInterrupts(interrupts)
    guard let index else { return Self.noBlock }
    let frame = handOut(index, purpose: request.purpose)
    return isDirty ? clear(frame, order: 0) : frame
  }

  /// Takes several frames from the current CPU's lists, refilled from its node: all of them or none.
  ///
  /// - Returns: a chain of `count` frames, or ``FrameListWord/empty``; and what they hold.
  @inline(never) borrowing func takeRefilling(
    _ request: FrameRequest, count: Int
  ) -> (chain: FrameListWord, contents: FrameContents) {
    let interrupts = machine.disableInterrupts()
    var found = (chain: FrameListWord.empty, contents: FrameContents.unknown)
    if let own = ownLists() {
      if own.pointee.homeNode < 0 { own.pointee.settle(on: homeNode()) }
      if request.node == nil || request.node?.index == own.pointee.homeNode {
        found = takeRefilling(own, count: count, cleared: request.cleared)
      }
    }
    machine.restoreInterrupts(interrupts)
    return found
  }

  /// Whether the pool of the home node is empty; true as well for a CPU without a home node yet.
  ///
  /// Read without the lock; a stale count costs a clearing that was not needed.
  @inline(__always)
  borrowing func hasNoZeroed(_ own: UnsafeMutablePointer<CPUFrameLists>) -> Bool {
    let home = own.pointee.homeNode
    return home < 0 || FreeLists(records: records, node: nodes + home).zeroedPool.count == 0
  }

  /// Takes several frames out of one of the current CPU's lists, refilled from its node; the node's pool of zeroed frames
  /// serves first if cleared ones are wanted.
  ///
  /// A CPU without a home node yet gets none.
  @inline(never) borrowing func takeRefilling(
    _ own: UnsafeMutablePointer<CPUFrameLists>, count: Int, cleared: Bool
  ) -> (chain: FrameListWord, contents: FrameContents) {
    let node = own.pointee.homeNode
    guard node >= 0, count <= CPUFrameLists.batch else { return (.empty, .unknown) }
    if cleared, !hasNoZeroed(own) {
      fillZeroed(own, node: node)
      let chain = popChain(count, of: own.pointee.zeroed)
      if chain.count != 0 { return (chain, .zeroed) }
    }
    if own.pointee.ready.value.count < count { fillReady(own, node: node) }
    return (popChain(count, of: own.pointee.ready), .unknown)
  }

  /// Adds a batch of the node's frames to the ready list, from the smallest blocks there are.
  @inline(never) borrowing func fillReady(_ own: UnsafeMutablePointer<CPUFrameLists>, node: Int) {
    let lists = FreeLists(records: records, node: nodes + node)
    let state = machine.lock(lists.lock)
    let word = own.pointee.ready.value
    let end = min(word.count &+ CPUFrameLists.batch, CPUFrameLists.limit)
    var (first, count) = lists.popSingles(atMost: end &- word.count, before: word.first)
    count &+= word.count
    while count < end, lists.node.pointee.nonEmptyOrders != 0 {
      let found = lists.node.pointee.nonEmptyOrders.trailingZeroBitCount
      // More than a batch rather than part of a small block, whose rest would be in pieces.
      let room = CPUFrameLists.limit &- count
      let order = min(found, min(CPUFrameLists.batchOrder, Int.bitWidth &- 1 &- room.leadingZeroBitCount))
      let block = lists.pop(order: found)
      let tag = lists.record(block).tag.with(state: FrameState.listed)
      if found != order { lists.split(block, from: found, to: order, range: tag) }
      // From the last to the first, so that the lowest is handed out first.
      let firstRecord = lists.record(block)
      var record = firstRecord + 1 &<< order
      var index = block &+ 1 &<< UInt32(truncatingIfNeeded: order)
      repeat {
        record -= 1
        record.next = first
        record.tag = tag
        index &-= 1
        first = index
      } while record != firstRecord
      count &+= 1 &<< order
      lists.node.pointee.freeFrames &-= 1 &<< order
    }
    _ = own.pointee.ready.replace(word, with: FrameListWord(first: first, count: count))
    machine.unlock(lists.lock, restoring: state)
  }

  /// Moves as many zeroed frames from the node's pool into the zeroed list as fit.
  @inline(never) borrowing func fillZeroed(_ own: UnsafeMutablePointer<CPUFrameLists>, node: Int) {
    let lists = FreeLists(records: records, node: nodes + node)
    let state = machine.lock(lists.lock)
    let pool = lists.zeroedPool
    let word = own.pointee.zeroed.value
    let count = min(pool.count, CPUFrameLists.limit &- word.count)
    if count > 0 {
      let last = record(count &- 1, from: pool.first)
      lists.zeroedPool = pool.removing(count, next: lists.record(last).next)
      lists.node.pointee.freeFrames &-= count
      lists.record(last).next = word.first
      _ = own.pointee.zeroed.replace(word, with: FrameListWord(first: pool.first, count: word.count &+ count))
    }
    machine.unlock(lists.lock, restoring: state)
  }

  /// The index that is `steps` links behind another.
  borrowing func record(_ steps: Int, from first: UInt32) -> UInt32 {
    var index = first
    var left = steps
    while left > 0 {
      index = (records + Int(truncatingIfNeeded: index)).next
      left &-= 1
    }
    return index
  }

  /// Frees a single frame, which says `listed`, when the ready list is full or the frame is another node's.
  ///
  /// Of a full list the frames that came last stay, and a batch of the others is merged.
  @inline(never) borrowing func putSlowly(_ index: UInt32, node: Int) {
    guard let own = ownLists(of: node) else {
      let lists = FreeLists(records: records, node: nodes + node)
      let state = machine.lock(lists.lock)
      lists.release(index)
      machine.unlock(lists.lock, restoring: state)
      return
    }
    // Only this CPU adds to the list, so that there is room now.
    while !push(index, to: own.pointee.ready) { releaseBatch(of: own, node: node) }
  }

  /// Merges the frames that came first into the current CPU's list, if it has more than a batch: a batch of them, or fewer,
  /// so that frames of one aligned batch stay together.
  ///
  /// Another CPU may take the list away before the lock is held: then there is room without that.
  @inline(never) borrowing func releaseBatch(of own: UnsafeMutablePointer<CPUFrameLists>, node: Int) {
    let lists = FreeLists(records: records, node: nodes + node)
    let state = machine.lock(lists.lock)
    let word = own.pointee.ready.value
    var kept = word.count &- CPUFrameLists.batch
    if kept > 0 {
      var last = record(kept &- 1, from: word.first)
      var first = lists.record(last).next
      while kept < word.count &- 1, (first ^ last) &>> UInt32(truncatingIfNeeded: CPUFrameLists.batchOrder) == 0
      {
        last = first
        first = lists.record(last).next
        kept &+= 1
      }
      if own.pointee.ready.replace(word, with: FrameListWord(first: word.first, count: kept)) {
        lists.release(first, count: word.count &- kept)
      }
    }
    machine.unlock(lists.lock, restoring: state)
  }
}

extension FreeLists {
  /// Takes blocks of order 0, which stay linked in their order; the last is linked to `next`.
  ///
  /// The lock is held. Their records say `listed` afterwards.
  ///
  /// - Returns: the first, or `next` if there is none, and their number.
  @inline(__always) func popSingles(atMost limit: Int, before next: UInt32) -> (
    first: UInt32, count: Int
  ) {
    let head = head(0)
    let first = record(head).next
    var last = head
    var index = first
    var count = 0
    while count < limit, index != head {
      record(index).tag = record(index).tag.with(state: FrameState.listed)
      last = index
      index = record(index).next
      count &+= 1
    }
    guard count > 0 else { return (next, 0) }
    record(head).next = index
    record(index).previous = head
    record(last).next = next
    if index == head { node.pointee.nonEmptyOrders &= ~1 }
    node.pointee.freeBlocks[unchecked: 0] &-= UInt32(truncatingIfNeeded: count)
    node.pointee.freeFrames &-= count
    return (first, count)
  }

  /// Merges a single frame that says `listed`, or puts it into the list of its order.
  ///
  /// The lock is held.
  @inline(never) func release(_ index: UInt32) { release(index, order: 0) }

  /// Merges an aligned block of frames that all say `listed`, or puts it into the list of its order.
  ///
  /// The lock is held.
  @inline(__always) private func release(_ index: UInt32, order: Int) {
    let tag = record(index).tag
    let inside = tag.with(state: FrameState.inside)
    var rest = record(index) + (1 &<< order &- 1)
    while rest != record(index) {
      rest.tag = inside
      rest -= 1
    }
    if canMerge(index, order: order, range: tag) {
      mergeAndPush(index, order: order, range: tag)
    } else {
      push(index, order: order, tag: tag.with(state: FrameState.free, order: order))
      node.pointee.freeFrames &+= 1 &<< order
    }
  }

  /// Releases frames that are linked through their records; neighbours become blocks at once, as far as they are aligned.
  ///
  /// Frames that were handed out one after the other are neighbours, and mostly come back so, upwards or downwards. The
  /// lock is held.
  @inline(__always) func release(_ first: UInt32, count: Int) {
    var next = first
    var left = count
    while left > 0 {
      var lowest = next
      var highest = next
      while true {
        next = record(next).next
        left &-= 1
        // The last link means nothing.
        if left == 0 { break }
        if next == highest &+ 1 {
          highest = next
        } else if next &+ 1 == lowest {
          lowest = next
        } else {
          break
        }
      }
      if lowest == highest {
        release(lowest)
      } else {
        releaseNeighbours(lowest, count: Int(truncatingIfNeeded: highest &- lowest) &+ 1)
      }
    }
  }

  /// Releases frames that lie side by side, in as few blocks as alignment allows.
  ///
  /// The lock is held.
  @inline(__always) private func releaseNeighbours(_ first: UInt32, count: Int) {
    var index = first
    var left = count
    repeat {
      // Ranges of memory begin at multiples of the largest block, so a block lies in one of them.
      let order = min(min(index.trailingZeroBitCount, Int.bitWidth &- 1 &- left.leadingZeroBitCount), 10)
      release(index, order: order)
      index &+= 1 &<< UInt32(truncatingIfNeeded: order)
      left &-= 1 &<< order
    } while left > 0
  }
}
