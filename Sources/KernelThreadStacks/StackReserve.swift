// What growth takes its frames from: each CPU's reserve, and the refill pool behind all of them.
//
// Protocol. need(t) = the pages of thread t's stack that are not mapped. While CPU c runs thread t,
//
//     reserve(c) ≥ need(t)
//
// Growth by k pages takes k frames and lowers need(t) by k, so this goes on holding; it is established anew only when a
// thread is switched in (ThreadStackAllocator.prepareToRun). So growth never finds the reserve empty, and never asks
// anybody for memory.
//
// The refill pool holds (pages of a stack − 1) frames for each CPU. They serve refills only, and only when the frame source
// refuses: whoever else wants memory is refused before a refill is.
//
//     CPU record                              shared
//     +----------------------+   refill 1st   +--------------+
//     | reserve of this CPU  | <------------- | frame source |
//     |  [frame][frame][   ] | <------------- +--------------+
//     +----------------------+   refill 2nd   | refill pool  |
//         |                                   +--------------+
//         | growth: entry, publish
//         v
//     the running thread's stack
//
// A reserve belongs to its CPU at the exception level's own stack with interrupts off: thread code never touches it,
// because it could fault, and grow, in the middle.

import KernelMachine

/// The head of one CPU's reserve.
///
///     +0   ready count
///     +8   count
///     +16  lending
///     +24  highest lent entry
///     +32  frames, 16 bytes each, as many as a stack has pages less one
///      …   pages grown, Int for each node
struct StackReserve {
  /// The count with which any thread may be switched in without a further look; -1 while the refill pool is not full either.
  var readyCount = 0
  /// How many frames there are.
  var count = 0

  /// How many of the frames, the last ones, are lent to the thread that this CPU runs (see StackLender.swift): 3 by the straight
  /// way, or page by page, as a negative number.
  var lending = 0
  /// Where in the linear map the entry of the highest page lies that is lent, if one is.
  var highestLentEntry = VirtualAddress(0)

  /// How many of the frames are lent.
  var lentCount: Int { lending < 0 ? 0 &- lending : lending }

  /// Where the entry of the lowest page lies, if so many are lent: the first of its stack.
  func lowestEntry(of lent: Int) -> VirtualAddress {
    highestLentEntry + -(lent &- 1) &* StackPages.entryBytes
  }

  init() {}
  static var headerBytes: Int { 32 }
}

/// A zeroed frame, as the entry that will map it, and the node it belongs to.
struct ReservedFrame {
  /// The entry while the frame is lent: untouched.
  let untouchedEntry: PageTableEntry
  let node: Int

  init(entry: PageTableEntry, node: Int) {
    untouchedEntry = entry.untouched
    self.node = node
  }

  /// The entry when the frame is a stack's.
  @inline(__always) var entry: PageTableEntry { untouchedEntry.accessed }
  static var bytes: Int { 16 }
}

extension UnsafeMutablePointer where Pointee == StackReserve {
  /// The frames of a reserve; the first `count` are there.
  var reservedFrames: UnsafeMutablePointer<ReservedFrame> {
    (UnsafeMutableRawPointer(self) + StackReserve.headerBytes).assumingMemoryBound(to: ReservedFrame.self)
  }
}
