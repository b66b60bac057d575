// Free frames that one CPU keeps for itself: two lists through the records of their frames, one word each.
//
//        63            32 31             0
//       +----------------+----------------+      record     record     record
//       | count: 3       | first: index   | ---> | next ---> | next ---> | … |      last in, first out;
//       +----------------+----------------+                                        the last link means nothing
//
// Protocol
//   1. Only its own CPU adds to a list, or takes single frames from it, and only with interrupts off: by one
//      compare-and-swap of the word. So the first frame of a list can't leave and come back in between.
//   2. Any CPU that holds the lock of the list's node may take the whole list, by one swap with the empty word. Then the
//      owner's next compare-and-swap fails, and it begins again with what it finds.
//   3. Frames move between a list and the node's free blocks under the node's lock. So a CPU that holds the lock and
//      looks at the blocks and at all lists of the node has seen all that is free.
//   4. A frame's record says `listed` before the frame is in a list, and until it has left it.
//
// By 1 and 2 the fast path takes no lock, and no other CPU writes a CPU's two words while memory suffices.

import KernelMachine
import Synchronization

/// The index of the first frame of a list, and the number of its frames.
struct FrameListWord: Equatable {
  let rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }
  init(first: UInt32, count: Int) {
    rawValue = UInt64(truncatingIfNeeded: count) &<< 32 | UInt64(first)
  }

  static var empty: Self { Self(rawValue: 0) }

  var first: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  var count: Int { Int(truncatingIfNeeded: rawValue &>> 32) }

  /// The word after a frame was put before the first.
  func adding(_ index: UInt32) -> Self {
    Self(rawValue: rawValue & ~0xffff_ffff &+ 1 &<< 32 | UInt64(index))
  }

  /// The word after the first `count` frames were taken and `next` has become the first.
  func removing(_ count: Int, next: UInt32) -> Self {
    Self(first: next, count: self.count &- count)
  }
}

/// One list of free frames.
struct FrameList: ~Copyable {
  let word = Atomic<UInt64>(0)

  init() {}

  var value: FrameListWord {
    @inline(__always) borrowing get { FrameListWord(rawValue: word.load(ordering: .relaxed)) }
  }

  /// Takes the whole list.
  ///
  /// The node's lock is held.
  borrowing func takeAll() -> FrameListWord {
    FrameListWord(rawValue: word.exchange(0, ordering: .acquiring))
  }

  /// Replaces the word if it has not changed.
  @inline(__always)
  borrowing func replace(_ old: FrameListWord, with new: FrameListWord) -> Bool {
    word.compareExchange(
      expected: old.rawValue, desired: new.rawValue, successOrdering: .releasing, failureOrdering: .relaxed
    ).exchanged
  }
}

/// One CPU's lists of free frames of its home node, in two cache lines of their own.
struct CPUFrameLists: ~Copyable {
  /// Frames with unknown contents.
  let ready = FrameList()
  /// Frames that read as zero.
  let zeroed = FrameList()
  /// The node whose frames these are: that of the CPU, or node 0 if that has no memory; -1 until the CPU first asks.
  let home: Atomic<Int>
  let padding = InlineArray<13, UInt64>(repeating: 0)

  init(home: Int) { self.home = Atomic(home) }

  /// The most frames that a list holds.
  static var limit: Int { 32 }
  /// The frames that an empty list gets at least, and that a full one loses at most.
  static var batch: Int { 1 &<< batchOrder }
  /// log2 of ``batch``.
  static var batchOrder: Int { 4 }

  /// The number in ``home``, which its own CPU sets, once.
  var homeNode: Int { @inline(__always) borrowing get { home.load(ordering: .relaxed) } }

  borrowing func settle(on node: Int) { home.store(node, ordering: .relaxed) }
}
