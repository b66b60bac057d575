// What each CPU has for itself: its magazine of freed stacks and its counts.

import KernelMachine
import Synchronization

/// One CPU's share: the frames that it has mapped less those that it has unmapped, per node, its counts, and its magazine.
///
///      -16          -8    0                  32
///   ---+------------+-----+------------------+-----------+-----------+---
///    … | node 1     | 0   | this header      | magazine 0| 1         | …
///   ---+------------+-----+------------------+-----------+-----------+---
///      mapped frames, Int each                PackedStack each
///                   '--------------- one cache line, with magazine 2 ----
///
/// Both arrays thus have fixed places. What a CPU uses most shares one cache line: its count of node 0, the header, and the
/// first three stacks of the magazine. A CPU that unmaps what another mapped has a negative count; only sums mean something.
///
/// All but `limit` belongs to its CPU while that has interrupts off. Handing out and taking back a cached stack touches
/// nothing but this record and the stack's own entries.
struct CPURecord: ~Copyable {
  /// How many stacks the magazine holds.
  fileprivate(set) var count = 0
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
  /// The frames of a node that lie behind stacks, cached ones included, as this CPU has counted them.
  func mappedFrames(ofNode node: Int) -> Int { mapped(node).pointee }

  /// Counts frames of a node that have been mapped, or, below 0, unmapped.
  @inline(__always) func countMapped(_ frames: Int, ofNode node: Int, _ off: borrowing InterruptsOff) {
    mapped(node).pointee &+= frames
  }

  @inline(__always) private func mapped(_ node: Int) -> UnsafeMutablePointer<Int> {
    UnsafeMutableRawPointer(self).assumingMemoryBound(to: Int.self) - (node &+ 1)
  }
}

// What follows uses the magazine. Where it is another CPU's, that CPU has stopped, or the allocator is at its end.
extension UnsafeMutablePointer<CPURecord> {
  /// The stacks of the magazine, the one that was freed last at the end.
  @inline(__always) private var magazine: UnsafeMutablePointer<PackedStack> {
    (UnsafeMutableRawPointer(self) + CPURecord.headerBytes).assumingMemoryBound(to: PackedStack.self)
  }

  /// A stack of the magazine, the one that was freed last at the end.
  ///
  /// Not checked.
  @inline(__always) subscript(cached index: Int) -> PackedStack { magazine[index] }

  /// Where in the magazine the next stack goes; `nil` if it is full, and while another CPU wants it emptied.
  @inline(__always) var room: Int? {
    let limit = pointee.magazineLimit
    let count = pointee.count
    return count < limit ? count : nil
  }

  /// Puts a stack on the magazine, at the place where the next one goes.
  @inline(__always) func push(_ stack: PackedStack, at index: Int, _ off: borrowing InterruptsOff) {
    magazine[index] = stack
    pointee.count = index &+ 1
  }

  /// Takes the stack that was freed last, if its tag is `tag`; `nil` stands for the tag of the CPU's own node.
  @inline(__always) func pop(tag: UInt?, _ off: borrowing InterruptsOff) -> PackedStack? {
    let last = pointee.count &- 1
    guard last >= 0 else { return nil }
    let stack = magazine[last]
    guard stack.tag == (tag ?? pointee.homeTag) else { return nil }
    pointee.count = last
    return stack
  }

  /// Takes the stack that was freed last, if there is one.
  @inline(__always) func popLast(_ off: borrowing InterruptsOff) -> PackedStack? {
    let last = pointee.count &- 1
    guard last >= 0 else { return nil }
    pointee.count = last
    return magazine[last]
  }

  /// Takes the stack of a node that was freed last; looks through the whole magazine.
  func take(node: Int, _ off: borrowing InterruptsOff) -> PackedStack? {
    var index = pointee.count &- 1
    while index >= 0, magazine[index].node != node { index &-= 1 }
    return index >= 0 ? magazine.remove(at: index, of: &pointee.count) : nil
  }

  /// Takes the stack with a base, if it is there.
  func take(base: VirtualAddress, _ off: borrowing InterruptsOff) -> PackedStack? {
    magazine.remove(base: base, of: &pointee.count)
  }

  /// Adds up to `limit` stacks from the end of `stacks`, which holds `count`, as far as there is room.
  ///
  /// - Returns: how many are left of `count`.
  @inline(__always) func refill(
    from stacks: UnsafeMutablePointer<PackedStack>, count: Int, limit: Int, _ off: borrowing InterruptsOff
  ) -> Int {
    let room = pointee.magazineLimit
    var left = count
    var cached = pointee.count
    var more = limit
    while more > 0, left > 0, cached < room {
      left &-= 1
      magazine[cached] = stacks[left]
      cached &+= 1
      more &-= 1
    }
    pointee.count = cached
    return left
  }

  /// Drops the oldest `moved` stacks of the magazine, which are elsewhere now.
  @inline(__always) func dropOldest(_ moved: Int, _ off: borrowing InterruptsOff) {
    let count = pointee.count
    var index = moved
    while index < count {
      magazine[index &- moved] = magazine[index]
      index &+= 1
    }
    pointee.count = count &- moved
  }
}

extension UnsafeMutablePointer<PackedStack> {
  /// Takes a stack out of the first `count`; the last of them takes its place.
  @inline(__always) func remove(at index: Int, of count: inout Int) -> PackedStack {
    let stack = self[index]
    count &-= 1
    self[index] = self[count]
    return stack
  }

  /// Takes the stack with a base out of the first `count`, if it is there.
  func remove(base: VirtualAddress, of count: inout Int) -> PackedStack? {
    var index = count &- 1
    while index >= 0, self[index].base != base { index &-= 1 }
    return index >= 0 ? remove(at: index, of: &count) : nil
  }
}
