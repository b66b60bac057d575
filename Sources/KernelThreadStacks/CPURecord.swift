// What each CPU has for itself: its magazine of freed stacks and its counts.

import Synchronization

/// One CPU's share: the frames that it has mapped less those that it has unmapped, per node, its counts, and its magazine.
///
///      -16          -8    0                  32
///   ---+------------+-----+------------------+-----------+-----------+---
///    … | node 1     | 0   | this header      | magazine 0| 1         | …
///   ---+------------+-----+------------------+-----------+-----------+---
///      mapped frames, Int each                PackedStack each
///
/// Both arrays thus have fixed places, and with up to four nodes all but the magazine share one cache line. A CPU that
/// unmaps what another mapped has a negative count; only sums mean something.
///
/// All but `limit` belongs to its CPU while that has interrupts off. Handing out and taking back a cached stack touches
/// nothing but this record and the stack's own entries.
struct CPURecord: ~Copyable {
  /// How many stacks the magazine holds.
  var count = 0
  /// How many it may hold: what was configured, or 0 when another CPU wants it emptied.
  ///
  /// The only field that other CPUs write, and only under memory pressure.
  let limit: Atomic<UInt32>
  /// Whether what this CPU unmapped on request may still wait for its invalidation: 0 or 1.
  var owesCompletion: UInt32 = 0
  /// The tag of stacks of the CPU's node that serve without a further look; all ones, which is no stack's tag, until the
  /// CPU has said which node that is.
  var homeTag: UInt
  /// Stacks that were made anew, because neither magazine nor depot had one that fitted.
  var coldAllocations: UInt32 = 0
  /// Stacks that were unmapped, because neither magazine nor depot kept them.
  var overflows: UInt32 = 0

  init(homeTag: UInt, limit: Int) {
    self.homeTag = homeTag
    self.limit = Atomic(UInt32(truncatingIfNeeded: limit))
  }

  @inline(__always) var magazineLimit: Int { Int(limit.load(ordering: .relaxed)) }

  func limitMagazine(to count: Int) {
    limit.store(UInt32(truncatingIfNeeded: count), ordering: .relaxed)
  }

  static var headerBytes: Int { 32 }
}

extension UnsafeMutablePointer<CPURecord> {
  /// The stacks of the magazine, the one that was freed last at the end.
  @inline(__always) var magazine: UnsafeMutablePointer<PackedStack> {
    (UnsafeMutableRawPointer(self) + CPURecord.headerBytes).assumingMemoryBound(to: PackedStack.self)
  }

  /// Where in the magazine the next stack goes; `nil` if it is full, and while another CPU wants it emptied.
  @inline(__always) var room: Int? {
    let count = pointee.count
    return count < pointee.magazineLimit ? count : nil
  }

  /// Puts a stack on the magazine, at the place where the next one goes.
  @inline(__always) func push(_ stack: PackedStack, at index: Int, _ off: borrowing InterruptsOff) {
    magazine[index] = stack
    pointee.count = index &+ 1
  }
}
