// Shrinking: the pages below a sleeping thread's stack pointer hold nothing, and go back under memory pressure.
//
// Protocol, for each thread, by whoever has claimed it (it sleeps, its context is saved, nobody switches it in):
//
//      retireDeadPages        completeInvalidation          releaseRetiredPages
//   VALID ---------> RETIRED ----------------------> RETIRED --------> EMPTY        frame: refill pool, else frame source
//     ^              names its frame                     |
//     |                   |                              |
//     +-------------------+------------------------------+
//              restoreRetiredPages: the thread is wanted
//
// A claim belongs to one batch. A thread that was wanted, ran, slept again and was claimed by somebody else is in that
// one's batch: whoever claimed it first must not release its pages after his own invalidation.
//
// One invalidation serves the stacks of a whole batch. Until it has completed, some CPU may still hold a translation of a
// retired page, so its frame must not serve anything new: but it may become valid again as it was, with the same frame
// and the same permissions, at any time before it is released. After the release, the empty entries are like those that
// were never used: growth makes them valid again without another invalidation.
//
//     entries of a stack that is being shrunk
//     +-------+-------+---------+---------+-------+-------+
//     | empty | empty | retired | retired | valid | valid |
//     +-------+-------+---------+---------+-------+-------+
//      base                                  ^ sp      top page: always stays

import KernelMachine

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// Unmaps the pages of a stack that lie wholly below a stack pointer, and notes them for an invalidation.
  ///
  /// The caller has claimed the thread: it sleeps, its context is saved, and nobody switches it in until its pages have
  /// been released or restored. The top page stays whatever the stack pointer is. It takes no lock.
  ///
  /// - Parameters:
  ///   - base: the base of the thread's stack. One that is no live growing stack's has nothing to give.
  ///   - stackPointer: what was saved, or the floor that the thread holds where that is lower. One that is not on the
  ///     stack is no reason to unmap anything.
  ///   - batch: what the invalidation will have to cover.
  /// - Returns: how many pages were unmapped.
  /// - Complexity: O(pages of a stack).
  @discardableResult
  public borrowing func retireDeadPages(
    of base: VirtualAddress, below stackPointer: VirtualAddress, into batch: inout ShrinkBatch
  ) -> Int {
    guard let pages = shrinkableStack(base)?.pages else { return 0 }
    let used = stackPointer - base
    guard used >= 0, used <= geometry.size else { return 0 }
    let end = min(used &>> pageShift, geometry.pageCount &- 1)
    var first = end
    var count = 0
    while first > 0 {
      let location = pages[first &- 1]
      let entry = machine.readEntry(at: location)
      if entry.isEmpty { break }
      first &-= 1
      if entry.isValid {
        machine.writeEntry(entry.retired, at: location)
        count &+= 1
      }
    }
    guard count > 0 else { return 0 }
    // Another CPU may issue the invalidation, or make the pages valid again; it publishes only its own stores.
    machine.publishEntries()
    batch.add(base + first &* pageSize, end: base + end &* pageSize, count: count)
    return count
  }

  /// Waits until no CPU has a translation of the batch's pages any more; the batch is empty then.
  ///
  /// One invalidation, or none if nothing waits for it.
  public borrowing func completeInvalidation(of batch: inout ShrinkBatch) {
    guard let range = batch.range else { return }
    machine.invalidate(range, in: .kernel, scope: .leaves)
    batch = ShrinkBatch()
  }

  /// Gives back the frames of a stack's unmapped pages, whose invalidation has completed.
  ///
  /// The thread is still claimed. The frames fill the refill pool, cleared, and go to the frame
  /// source when it is full. The stack's high-water mark remembers them.
  ///
  /// - Parameter base: the base of the thread's stack. One that is no live growing stack's has nothing to give.
  /// - Returns: how many frames the stack gave up.
  /// - Complexity: O(pages of a stack), and clearing those that go to the refill pool.
  @discardableResult
  public borrowing func releaseRetiredPages(of base: VirtualAddress) -> Int {
    guard let (pages, marker) = shrinkableStack(base) else { return 0 }
    var released = 0
    var refillPoolHasRoom = false
    var rest = pages.belowTop
    while let location = rest.popFirst() {
      let entry = machine.readEntry(at: location)
      guard entry.isRetired else { continue }
      if released == 0 {
        let depth = StackPages(from: location, to: pages.end).count
        noteDepth(depth, marker, at: pages.first + control.pointee.markerDistance)
        refillPoolHasRoom = !isRefillPoolFull
      }
      machine.writeEntry(.empty, at: location)
      release(entry.frame, refillPoolHasRoom: &refillPoolHasRoom)
      released &+= 1
    }
    if released > 0, marker.isCharged { uncharge(released, from: marker.group) }
    return released
  }

  /// Makes a stack's unmapped pages valid again, because its thread is wanted.
  ///
  /// It needs no invalidation, whether or not one has been made: they are the same frames with the same permissions.
  /// The thread's need is what it was before.
  ///
  /// - Parameter base: the base of the thread's stack. One that is no live growing stack's has nothing to restore.
  /// - Returns: how many pages are mapped again.
  /// - Complexity: O(pages of a stack).
  @discardableResult
  public borrowing func restoreRetiredPages(of base: VirtualAddress) -> Int {
    guard let pages = shrinkableStack(base)?.pages else { return 0 }
    var restored = 0
    var rest = pages.belowTop
    while let location = rest.popFirst() {
      let entry = machine.readEntry(at: location)
      guard entry.isRetired else { continue }
      machine.writeEntry(PageTableEntry(rawValue: entry.rawValue | 1), at: location)
      restored &+= 1
    }
    if restored > 0 { machine.publishEntries() }
    return restored
  }

  // MARK: What the steps consist of

  /// The entries of a live stack that grows, and what its marker says; `nil` for any other address.
  ///
  /// They stay while the stack's thread is claimed.
  @inline(__always) borrowing func shrinkableStack(
    _ base: VirtualAddress
  ) -> (pages: StackPages, marker: StackMarker)? {
    let distance = base.rawValue &- control.pointee.firstStack
    guard distance < control.pointee.growingByteCount, distance & UInt(bitPattern: geometry.stride &- 1) == 0,
      let view = view(ofSlot: Int(bitPattern: distance &>> UInt(bitPattern: geometry.strideShift)))
    else { return nil }
    let pages = pages(ofBase: base, in: view)
    let marker = StackMarker(entry: machine.readEntry(at: pages.first + control.pointee.markerDistance))
    return view.wasThere && marker.isLive ? (pages, marker) : nil
  }

  /// Remembers how many pages a stack once had, because some of them are about to leave no trace.
  ///
  /// Nobody else writes the marker of a thread that is claimed.
  private borrowing func noteDepth(_ pages: Int, _ marker: StackMarker, at location: PhysicalAddress) {
    if marker.deepestPageCount < pages {
      machine.writeEntry(marker.withDeepestPageCount(pages).entry, at: location)
    }
  }

  /// Passes on a frame that a stack gave up: to the refill pool while it has room, else to the frame source.
  borrowing func release(_ frame: PageFrame, refillPoolHasRoom: inout Bool) {
    let node = layout.nodeCount == 1 ? 0 : frames.node(of: frame).index
    let interrupts = turnInterruptsOff()
    record(ofCPU: machine.currentCPU).countMapped(-1, ofNode: node, interrupts.off)
    restore(interrupts)
    if refillPoolHasRoom {
      machine.clear(machine.linearAddress(of: frame), byteCount: pageSize)
      refillPoolHasRoom = putIntoRefillPool(ReservedFrame(entry: arena.stackEntry(for: frame), node: node))
      if refillPoolHasRoom { return }
    }
    _ = giveBack(frame, order: 0)
  }
}
