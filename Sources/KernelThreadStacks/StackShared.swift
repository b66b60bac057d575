// What the allocator's lock guards, apart from arrays of slots, stacks and frames: one part for each view of it.

import KernelMachine
import Synchronization

/// The lock and what it guards.
struct StackShared: ~Copyable {
  var lock = SpinLock()
  var slots = SlotTable.State()
  var ring = RetirementRing.State()
  var depot = Depot.State()
  var refillPool = RefillPool.State()

  /// How many threads wait for a refill; written by their scheduler, under a lock of its own.
  var refillWaiterCount = 0

  /// The static boot stack; base 0: none.
  ///
  /// Both are read without the lock: the frame is written first, then the base.
  let bootStackBase: Atomic<UInt>
  var bootStackFrame: UInt = 0

  init() { bootStackBase = Atomic(0) }
}
