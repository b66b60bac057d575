// The retirement ring: slots whose stacks are unmapped, and whose frames wait for an invalidation.
//
//     drained                    invalidated               retired           three ever-growing indices;
//        |  frames may go back        |  need an invalidation  |             a slot's place is its index modulo the size
//
// Who may touch it, and when: the holder of the allocator's lock, on any CPU. What changes it takes a LockHeld; the number of
// slots may be read without it, as a figure. A slot is put here after its entries have been made invalid and published. An
// invalidation is issued without the lock: its holder notes `end` before, and says after it that all slots before `end` are
// invalidated. Between first() and removeFirst(), the frames of that slot are the lock holder's.

import KernelMachine

/// The slots that wait for an invalidation, if they are few.
struct SlotBuffer {
  var slots = InlineArray<16, UInt32>(repeating: 0)
  /// How many there are; -1 if they are too many for the buffer.
  var count = 0

  init() {}
  static var capacity: Int { 16 }
}

/// The ring: a view of the allocator's memory.
struct RetirementRing {
  /// The indices, and what an invalidation has to cover.
  struct State {
    /// How many slots have given their frames back.
    fileprivate var drained: UInt32 = 0
    /// How many slots have seen a completed invalidation.
    fileprivate var invalidated: UInt32 = 0
    /// How many slots have been unmapped.
    fileprivate var retired: UInt32 = 0
    /// Whether some CPU has begun an invalidation because a batch has gathered.
    fileprivate var isInvalidating = false

    /// The lowest and the highest base among the slots that need an invalidation, or beyond.
    fileprivate var lowest: UInt = .max
    fileprivate var highest: UInt = 0

    init() {}
  }

  private let control: UnsafeMutablePointer<StackControl>

  @inline(__always) init(_ control: UnsafeMutablePointer<StackControl>) { self.control = control }

  /// How many slots have not yet given their frames back.
  @inline(__always) var count: Int {
    Int(control.shared.pointee.ring.retired &- control.shared.pointee.ring.drained)
  }

  // MARK: Into the ring

  /// Adds the slot of an unmapped stack, if there is room.
  @inline(__always) func put(_ slot: Int, base: VirtualAddress, _ held: borrowing LockHeld) -> Bool {
    let index = control.shared.pointee.ring.retired
    guard index &- control.shared.pointee.ring.drained <= mask else { return false }
    slots[Int(index & mask)] = UInt32(truncatingIfNeeded: slot)
    control.shared.pointee.ring.retired = index &+ 1
    let base = base.rawValue
    if base < control.shared.pointee.ring.lowest { control.shared.pointee.ring.lowest = base }
    if base > control.shared.pointee.ring.highest { control.shared.pointee.ring.highest = base }
    return true
  }

  // MARK: Invalidation

  /// Where the slots end that an invalidation covers which is issued from now on.
  @inline(__always) func end(_ held: borrowing LockHeld) -> UInt32 { control.shared.pointee.ring.retired }

  /// Whether slots need an invalidation.
  @inline(__always) func needsInvalidation(_ held: borrowing LockHeld) -> Bool {
    control.shared.pointee.ring.retired != control.shared.pointee.ring.invalidated
  }

  /// Claims the invalidation of a batch, if as many slots have gathered and no other CPU is at it.
  @inline(__always) func claimInvalidation(ofBatch batch: Int, _ held: borrowing LockHeld) -> Bool {
    guard !control.shared.pointee.ring.isInvalidating,
      control.shared.pointee.ring.retired &- control.shared.pointee.ring.invalidated
        >= UInt32(truncatingIfNeeded: batch)
    else { return false }
    control.shared.pointee.ring.isInvalidating = true
    return true
  }

  /// Notes that the invalidation that was claimed has completed; it covers all slots before `end`.
  @inline(__always) func completeClaimed(upTo end: UInt32, _ held: borrowing LockHeld) {
    noteInvalidated(upTo: end, held)
    control.shared.pointee.ring.isInvalidating = false
  }

  /// What an invalidation of all retired slots has to cover.
  @inline(__always) func range(_ held: borrowing LockHeld) -> VirtualAddressRange {
    VirtualAddressRange(
      VirtualAddress(control.shared.pointee.ring.lowest),
      VirtualAddress(control.shared.pointee.ring.highest) + control.pointee.geometry.size)
  }

  /// Notes that an invalidation has completed that covers all slots that were retired before `end`.
  ///
  /// The bounds stay where others have been retired meanwhile: they are only wider than they need be then.
  @inline(__always) func noteInvalidated(upTo end: UInt32, _ held: borrowing LockHeld) {
    // Another CPU may have completed a later one.
    if Int32(bitPattern: end &- control.shared.pointee.ring.invalidated) > 0 {
      control.shared.pointee.ring.invalidated = end
    }
    if control.shared.pointee.ring.retired == end {
      control.shared.pointee.ring.lowest = .max
      control.shared.pointee.ring.highest = 0
    }
  }

  /// Puts the slots that were retired before `end` and need an invalidation into an empty buffer.
  @inline(__always)
  func copyPending(upTo end: UInt32, to buffer: inout SlotBuffer, _ held: borrowing LockHeld) {
    var index = control.shared.pointee.ring.invalidated
    guard end &- index <= UInt32(truncatingIfNeeded: SlotBuffer.capacity) else {
      buffer.count = -1
      return
    }
    while index != end {
      buffer.slots[unchecked: buffer.count] = slots[Int(index & mask)]
      buffer.count &+= 1
      index &+= 1
    }
  }

  // MARK: Out of the ring

  /// The slot that was retired first, if its frames may go back.
  @inline(__always) func first(_ held: borrowing LockHeld) -> Int? {
    let drained = control.shared.pointee.ring.drained
    return drained == control.shared.pointee.ring.invalidated ? nil : Int(slots[Int(drained & mask)])
  }

  /// Takes out the slot that was retired first, whose entries are empty now.
  @inline(__always) func removeFirst(_ held: borrowing LockHeld) { control.shared.pointee.ring.drained &+= 1 }

  // MARK: The memory

  @inline(__always) private var mask: UInt32 { control.pointee.layout.ringMask }

  @inline(__always) private var slots: UnsafeMutablePointer<UInt32> {
    (UnsafeMutableRawPointer(control) + StackMetadataLayout.ringOffset).assumingMemoryBound(to: UInt32.self)
  }
}

#if INTERNAL_CHECKS
  extension RetirementRing {
    /// Traps if the indices contradict each other, or a slot that `isRetired` denies is in the ring.
    func check(_ isRetired: (Int) -> Bool) {
      let state = control.shared.pointee.ring
      let pending = state.retired &- state.drained
      precondition(pending <= mask &+ 1, "the ring has overflowed")
      precondition(state.retired &- state.invalidated <= pending, "a slot was drained before its invalidation")
      var index = state.drained
      while index != state.retired {
        precondition(isRetired(Int(slots[Int(index & mask)])), "a slot in the ring is not marked retired")
        index &+= 1
      }
    }
  }
#endif
