// The fast path of single frames: out of and into the current CPU's lists, interrupts off, without a lock.

import KernelMachine

extension BuddyAllocator {
  /// The absence of a frame; there are fewer records.
  static var noIndex: UInt32 { .max }

  /// The lists of the current CPU; `nil` if it keeps none.
  ///
  /// Interrupts are off.
  @inline(__always) borrowing func ownLists() -> UnsafeMutablePointer<CPUFrameLists>? {
    let cpu = machine.currentCPU
    return UInt(bitPattern: cpu) < UInt(bitPattern: listedCPUs) ? cpuLists + cpu : nil
  }

  // MARK: One frame

  /// Takes the first frame of a list.
  ///
  /// The list is the current CPU's, and interrupts are off.
  ///
  /// - Returns: its index; `nil` when there is none.
  @inline(__always) borrowing func pop(_ list: borrowing FrameList) -> UInt32? {
    while true {
      let word = list.value
      if word.count == 0 { return nil }
      // Another CPU may be taking the list away. Then this link is stale, and the word has changed.
      let next = (records + Int(truncatingIfNeeded: word.first)).next
      if list.replace(word, with: word.removing(1, next: next)) { return word.first }
    }
  }

  /// Puts a frame that says `listed` before the first of a list, unless that is full.
  ///
  /// The list is the current CPU's, and interrupts are off.
  @inline(__always) borrowing func push(_ index: UInt32, to list: borrowing FrameList) -> Bool {
    while true {
      let word = list.value
      guard word.count < CPUFrameLists.limit else { return false }
      (records + Int(truncatingIfNeeded: index)).next = word.first
      if list.replace(word, with: word.adding(index)) { return true }
    }
  }

  /// Marks a listed frame's record as used for a purpose.
  @inline(__always) borrowing func handOut(_ index: UInt32, purpose: FramePurpose) -> PageFrame {
    let record = records + Int(truncatingIfNeeded: index)
    let tag = record.tag
    record.tag = tag.with(state: FrameState.used, purpose: purpose.rawValue)
    return PageFrame(UInt(truncatingIfNeeded: index) &+ ranges[tag.range].bias)
  }

  /// Takes a frame of the wanted kind from the current CPU's lists.
  ///
  /// - Returns: `nil` when they have none; the slow path of ``allocate(_:)`` may still find one.
  @inline(__always) borrowing func takeListed(_ request: FrameRequest) -> PageFrame? {
    let interrupts = machine.disableInterrupts()
    var frame: PageFrame?
    // A CPU whose home is not known yet has nothing in its lists.
    if let own = ownLists(), request.node == nil || request.node?.index == own.pointee.homeNode,
      let index = request.cleared ? pop(own.pointee.zeroed) : pop(own.pointee.ready)
    {
      frame = handOut(index, purpose: request.purpose)
    }
    machine.restoreInterrupts(interrupts)
    return frame
  }

  /// Puts a frame into the current CPU's list.
  @inline(__always) borrowing func putListed(
    _ index: UInt32, of range: UnsafeMutablePointer<RangeRecord>
  ) throws(FrameSourceError) {
    let record = records + Int(truncatingIfNeeded: index)
    let tag = record.tag
    guard tag.stateAndOrder == FrameState.used &<< 4, record.takeBack(tag) else {
      return try rejectListed(index, of: range)
    }
    let interrupts = machine.disableInterrupts()
    var isListed = false
    if let own = ownLists(), own.pointee.homeNode == range.pointee.node {
      isListed = push(index, to: own.pointee.ready)
    }
    if !isListed { putSlowly(index, node: range.pointee.node) }
    machine.restoreInterrupts(interrupts)
  }

  // MARK: Several frames

  /// Takes the first `count` frames of the current CPU's list, which stay linked through their records.
  ///
  /// - Returns: the first and `count`, or ``FrameListWord/empty`` when the list has fewer.
  @inline(__always)
  borrowing func takeListed(_ request: FrameRequest, count: Int) -> FrameListWord {
    let interrupts = machine.disableInterrupts()
    var chain = FrameListWord.empty
    if let own = ownLists(), request.node == nil || request.node?.index == own.pointee.homeNode {
      chain =
        request.cleared
        ? popChain(count, of: own.pointee.zeroed) : popChain(count, of: own.pointee.ready)
    }
    machine.restoreInterrupts(interrupts)
    return chain
  }

  /// Takes the first `count` frames of a list, if it has as many.
  ///
  /// The list is the current CPU's, and interrupts are off.
  @inline(__always)
  borrowing func popChain(_ count: Int, of list: borrowing FrameList) -> FrameListWord {
    while true {
      let word = list.value
      if word.count < count { return .empty }
      var index = word.first
      var left = count
      repeat {
        index = (records + Int(truncatingIfNeeded: index)).next
        left &-= 1
      } while left > 0
      if list.replace(word, with: word.removing(count, next: index)) {
        return FrameListWord(first: word.first, count: count)
      }
    }
  }
}
