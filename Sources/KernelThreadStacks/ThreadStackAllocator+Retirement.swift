// The way of an unmapped stack back to the frame source: many stacks, one invalidation, a few frames at a time.
//
// An unmapped slot waits in the ring, its frames named by its own invalid entries. When a batch has gathered, one
// invalidation serves it; after that, each further free gives back two slots' frames, so that no single free pays for
// all.
//
// The lock is held only while slots enter and leave the ring. Entries are made invalid before, the invalidation is waited
// for and frames are given back after it has been released. Meanwhile others go on: the ring is four batches long. A
// stack that finds it full all the same, because an invalidation is slow, gets one of its own, and room is made for the next.

import KernelMachine
import Synchronization

/// Frames on their way to the frame source, once the lock has been released.
struct FrameBuffer {
  let frames: UnsafeMutablePointer<PageFrame>
  var count = 0

  /// A buffer in memory that stays the caller's, for ``capacity`` frames.
  init(_ memory: UnsafeMutableBufferPointer<PageFrame>) {
    frames = memory.baseAddress.unsafelyUnwrapped
  }

  static var capacity: Int { 8 }
  var isFull: Bool { count == Self.capacity }
  mutating func add(_ frame: PageFrame) {
    (frames + count).initialize(to: frame)
    count &+= 1
  }

  /// Runs `body` with an empty buffer.
  ///
  /// It lies on the stack and is not cleared first, which would cost more than what is put there. That is sound because
  /// (1) the memory is there while `body` runs, and the buffer does not outlive it; (2) `add` is called only while
  /// `isFull` says no; (3) what is read lies below `count`, so it has been written; (4) a frame's number needs no
  /// deinitialization.
  @inline(__always) static func with<Result>(_ body: (inout Self) -> Result) -> Result {
    withUnsafeTemporaryAllocation(of: PageFrame.self, capacity: capacity) { memory in
      var buffer = Self(memory)
      return body(&buffer)
    }
  }
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// How many slots give their frames back in one free.
  private static var slotsPerFree: Int { 2 }

  /// Takes a stack out of use that is in no magazine and no depot any more.
  ///
  /// - Returns: how many frames went back, its own or others'.
  @inline(__always) func giveUp(_ stack: PackedStack, _ off: borrowing InterruptsOff) -> Int {
    account(stack, -1, in: record(ofCPU: machine.currentCPU), off)
    return isLinear
      ? giveBack(machine.frame(ofLinear: stack.base), order: geometry.blockOrder) : retire(stack, off)
  }

  /// Takes a stack out of use as `giveUp` does: for what reclaims, whose frame is below that of an allocation.
  @inline(never) func giveUpCached(_ stack: PackedStack, _ off: borrowing InterruptsOff) -> Int {
    giveUp(stack, off)
  }

  /// Adds a stack's frames to the counts of this CPU, or takes them off.
  private func account(
    _ stack: PackedStack, _ sign: Int, in record: UnsafeMutablePointer<CPURecord>,
    _ off: borrowing InterruptsOff
  ) {
    if stack.isIrregular {
      accountPages(stack, sign, in: record, off)
    } else {
      record.countMapped(sign &* geometry.pageCount, ofNode: stack.node, off)
    }
  }

  /// Unmaps a stack and lets it wait for an invalidation, which it issues when a batch has gathered; gives back the
  /// frames of some that have waited.
  ///
  /// - Returns: how many frames went back.
  @inline(never) func retire(_ stack: PackedStack, _ off: borrowing InterruptsOff) -> Int {
    unmap(stack)
    var left = Self.slotsPerFree
    let first = takeLock()
    guard ring.put(slot(ofBase: stack.base), base: stack.base, first.held) else {
      unlock(first)
      return completeAlone(stack)
    }
    var mustInvalidate = ring.claimInvalidation(ofBatch: configuration.retirementBatch, first.held)
    let kept = first.keep()
    return FrameBuffer.with { buffer in
      var section = LockSection(kept)
      var given = 0
      while true {
        collect(into: &buffer, slots: &left, section.held)
        let end = ring.end(section.held)
        let range = ring.range(section.held)
        unlock(section)
        if mustInvalidate {
          mustInvalidate = false
          machine.invalidate(range, in: .kernel, scope: .leaves)
          let section = takeLock()
          ring.completeClaimed(upTo: end, section.held)
          unlock(section)
        }
        let wasFull = buffer.isFull
        given &+= giveBack(&buffer)
        // Stacks of more pages than the buffer takes need several rounds.
        guard wasFull, left > 0 else { return given }
        section = takeLock()
      }
    }
  }

  /// Makes a stack's entries invalid; they keep their frames.
  @inline(__always) func unmap(_ stack: PackedStack) {
    let pages = pages(ofBase: stack.base)
    var rest = pages
    while let location = rest.popFirst() {
      let entry = machine.readEntry(at: location)
      if entry.isValid { machine.writeEntry(entry.retired, at: location) }
    }
    machine.writeEntry(StackMarker.retired(stack).entry, at: pages.first + control.pointee.markerDistance)
    // Another CPU may issue the invalidation, and it publishes only its own stores.
    machine.publishEntries()
  }

  /// Takes the frames of up to `slots` invalidated slots, as far as the buffer takes them, and frees the slots.
  func collect(into buffer: inout FrameBuffer, slots: inout Int, _ held: borrowing LockHeld) {
    while slots > 0, let slot = ring.first(held) {
      let pages = pages(ofSlot: slot)
      var rest = pages
      while let location = rest.popFirst() {
        let entry = machine.readEntry(at: location)
        if entry.isEmpty { continue }
        // The rest of this slot comes the next time.
        if buffer.isFull { return }
        machine.writeEntry(.empty, at: location)
        buffer.add(entry.frame)
      }
      ring.removeFirst(held)
      putSlot(slot, pages, held)
      slots &-= 1
    }
  }

  /// Frees a slot, all of whose pages have empty entries.
  func putSlot(_ slot: Int, _ pages: StackPages, _ held: borrowing LockHeld) {
    machine.writeEntry(.empty, at: pages.first + control.pointee.markerDistance)
    slots.put(slot, held)
  }

  /// Gives back the frames of a buffer, which is empty then.
  @inline(__always) func giveBack(_ buffer: inout FrameBuffer) -> Int {
    var given = 0
    var index = 0
    while index < buffer.count {
      given &+= giveBack(buffer.frames[index], order: 0)
      index &+= 1
    }
    buffer.count = 0
    return given
  }

  /// Gives a stack that found no room in the ring an invalidation of its own, and makes room there.
  ///
  /// - Returns: how many frames went back, its own and others'.
  @inline(never) private func completeAlone(_ stack: PackedStack) -> Int {
    let range = VirtualAddressRange(stack.base, byteCount: geometry.size)
    machine.invalidate(range, in: .kernel, scope: .leaves)
    let pages = pages(ofBase: stack.base)
    let given = empty(pages)
    let section = takeLock()
    putSlot(slot(ofBase: stack.base), pages, section.held)
    return giveBackInvalidated(slots: Self.slotsPerFree, given: given, unlocking: section)
  }

  /// Gives back the frames of up to `slots` invalidated slots, and frees the slots.
  ///
  /// - Parameters:
  ///   - slots: how many slots.
  ///   - before: how many frames the caller has given back before.
  /// - Returns: how many frames went back, with these.
  @inline(never)
  private func giveBackInvalidated(slots: Int, given before: Int, unlocking first: consuming LockSection) -> Int
  {
    let kept = first.keep()
    var left = slots
    return FrameBuffer.with { buffer in
      var section = LockSection(kept)
      var given = before
      while true {
        collect(into: &buffer, slots: &left, section.held)
        unlock(section)
        let wasFull = buffer.isFull
        given &+= giveBack(&buffer)
        guard wasFull, left > 0 else { return given }
        section = takeLock()
      }
    }
  }

  /// Drops what CPUs have cached of some slots: each by itself if that takes an eighth of the instructions, or fewer, that
  /// all that lies between them does.
  ///
  /// One invalidation of a wider range has the advantage of one wait.
  ///
  /// - Parameters:
  ///   - pending: the slots; not `borrowing`, which would copy the buffer.
  ///   - range: covers all of them.
  @inline(__always)
  private func invalidate(_ pending: inout SlotBuffer, in range: VirtualAddressRange) {
    let pages = min(range.pageCount, InvalidationPlan.largestCountByAddress)
    guard pending.count > 0, pending.count &* geometry.pageCount &* 8 <= pages else {
      return machine.invalidate(range, in: .kernel, scope: .leaves)
    }
    var index = 0
    while index < pending.count {
      let base = base(ofSlot: Int(pending.slots[unchecked: index]))
      machine.invalidate(
        VirtualAddressRange(base, byteCount: geometry.size), in: .kernel, scope: .leaves)
      index &+= 1
    }
  }

  /// Completes what is pending, then all frames go back.
  ///
  /// - Parameter before: how many frames the caller has given back before.
  /// - Returns: how many frames went back, with these.
  @inline(never) func completeRetirement(given before: Int) -> Int {
    if isLinear { return before }
    var first = takeLock()
    let end = ring.end(first.held)
    if ring.needsInvalidation(first.held) {
      // Another CPU may be at it. This covers the same slots once more, and nobody waits for anybody.
      let range = ring.range(first.held)
      var pending = SlotBuffer()
      ring.copyPending(upTo: end, to: &pending, first.held)
      unlock(first)
      invalidate(&pending, in: range)
      first = takeLock()
      ring.noteInvalidated(upTo: end, first.held)
    }
    return giveBackInvalidated(slots: .max, given: before, unlocking: first)
  }

  /// Counts a block that the frame source refused to take back.
  @inline(never) func noteRefusal() { control.pointee.refusedFrees.add(1, ordering: .relaxed) }
}
