// The way of an unmapped stack back to the frame source: many stacks, one invalidation, a few frames at a time.
//
// An unmapped slot waits in the ring, its frames named by its own invalid entries. When a batch has gathered, one
// invalidation serves it; after that, each further free gives back two slots' frames, so that no single free pays for
// all. Two per free outrun the one that each free adds: the ring, twice a batch long, never overflows.

import KernelMachine
import Synchronization

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// How many slots give their frames back in one free.
  @inlinable static var slotsPerFree: Int { 2 }

  /// Unmaps a stack and lets it wait for an invalidation.
  @inlinable func retire(_ stack: PackedStack) {
    let state = machine.lock(lock)
    _ = drain(atMost: Self.slotsPerFree)
    enqueueRetired(stack)
    if shared.pointee.retired &- shared.pointee.invalidated >= UInt32(configuration.retirementBatch) {
      invalidateRetired()
    }
    machine.unlock(lock, restoring: state)
  }

  /// Makes a stack's entries invalid and puts its slot into the ring, which has room.
  ///
  /// The lock is held.
  @inlinable func enqueueRetired(_ stack: PackedStack) {
    let slot = slot(ofBase: stack.base)
    let entries = stackEntries(ofSlot: slot)
    var page = 0
    while page < geometry.pageCount {
      let entry = machine.readEntry(at: entries + page &* 8)
      machine.writeEntry(entry.retired, at: entries + page &* 8)
      page &+= 1
    }
    mark(stack, .retired(stack))
    // Another CPU may issue the invalidation, and it publishes only its own stores.
    machine.publishEntries()
    let index = shared.pointee.retired
    ring[Int(index & layout.ringMask)] = UInt32(truncatingIfNeeded: slot)
    shared.pointee.retired = index &+ 1
    let base = stack.base.rawValue
    if base < shared.pointee.lowestRetired { shared.pointee.lowestRetired = base }
    if base > shared.pointee.highestRetired { shared.pointee.highestRetired = base }
  }

  /// Completes one invalidation for all retired slots.
  ///
  /// The lock is held.
  @inlinable func invalidateRetired() {
    guard shared.pointee.retired != shared.pointee.invalidated else { return }
    let lowest = VirtualAddress(shared.pointee.lowestRetired)
    let range = VirtualAddressRange(lowest, VirtualAddress(shared.pointee.highestRetired) + geometry.size)
    machine.invalidate(range, in: .kernel, scope: .leaves)
    shared.pointee.invalidated = shared.pointee.retired
    shared.pointee.lowestRetired = .max
    shared.pointee.highestRetired = 0
  }

  /// Gives back the frames of up to `limit` invalidated slots and frees the slots.
  ///
  /// The lock is held.
  ///
  /// - Returns: how many frames went back.
  @inlinable func drain(atMost limit: Int) -> Int {
    var given = 0
    var left = limit
    while left > 0, shared.pointee.drained != shared.pointee.invalidated {
      let slot = Int(ring[Int(shared.pointee.drained & layout.ringMask)])
      shared.pointee.drained &+= 1
      given &+= emptyEntries(stackEntries(ofSlot: slot), pages: geometry.pageCount)
      putSlot(slot)
      left &-= 1
    }
    return given
  }

  /// Completes what is pending: one invalidation at most, then all frames go back.
  @inlinable func completeRetirement() -> Int {
    if isLinear { return 0 }
    let state = machine.lock(lock)
    invalidateRetired()
    let given = drain(atMost: .max)
    machine.unlock(lock, restoring: state)
    return given
  }

  /// Counts a block that the frame source refused to take back.
  @inlinable @inline(never) func noteRefusal() { control.pointee.refusedFrees.add(1, ordering: .relaxed) }
}
