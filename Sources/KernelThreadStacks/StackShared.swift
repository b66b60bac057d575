// What the allocator's lock guards, slots and depots apart.

import KernelMachine
import Synchronization

/// The lock and what it guards.
struct StackShared: ~Copyable {
  var lock = SpinLock()
  /// The first of the groups that have a table and a free slot, or -1.
  var firstPartial: Int32 = -1
  /// The first of the tables that were there and went back, or -1; linked by their first groups' `next`.
  var firstBareTable: Int32 = -1
  /// All tables from this one on were never there.
  var firstUntouchedTable: Int32 = 0
  /// Slots in use: live, cached, waiting in the ring, or promised to someone who builds a table.
  var usedSlots: Int32 = 0

  // The ring holds three runs of slots, by ever-growing indices: drained ≤ invalidated ≤ retired.
  //
  //     drained                    invalidated               retired
  //        |  frames may go back        |  need an invalidation  |

  /// How many slots have given their frames back.
  var drained: UInt32 = 0
  /// How many slots have seen a completed invalidation.
  var invalidated: UInt32 = 0
  /// How many slots have been unmapped.
  var retired: UInt32 = 0
  /// Whether some CPU has begun an invalidation because a batch has gathered.
  var isInvalidating = false

  /// The lowest and the highest base among the slots that need an invalidation, or beyond.
  var lowestRetired: UInt = .max
  var highestRetired: UInt = 0

  /// How many stacks the depots of all nodes hold.
  var depotCount = 0
  var demand = StackDemand()

  /// How many frames the pool has, from which reserves are refilled when the frame source refuses.
  var poolCount = 0
  /// How many threads wait for a refill; written by their scheduler, under a lock of its own.
  var refillWaiterCount = 0

  /// The static boot stack; base 0: none.
  ///
  /// Both are read without the lock: the frame is written first, then the base.
  let bootStackBase: Atomic<UInt>
  var bootStackFrame: UInt = 0

  init() { bootStackBase = Atomic(0) }
}
