// The record of each page frame: 12 bytes.
//
//            31            16 15           8 7      4 3      0
//           +-------------------------------------------------+
//   word 0  | next: index of the next free block's record     |   only while the frame is the first of a free block;
//           |                                                 |   of a CPU's list: next alone
//   word 1  | previous: index of the previous one's           |   of a frame that is handed out: its owner's (`ownerWord`)
//   word 2  | range          | purpose      | state  | order  |   the tag
//           +----------------+--------------+--------+--------+
//
// Only the first record of a block, its *head*, knows the block's order and purpose; all others of the block say
// `inside`. So allocating or freeing a block of any order writes one record, and so does each split or merge.

// Without the node's lock a CPU touches only records of frames that it owns, or that are in its list. It may then read the
// link of a frame that another CPU is taking away, and others may read the tag of a frame that it takes or gives. So
// `next` and the tag are accessed as relaxed atomic words, which compile to plain loads and stores.

import KernelMachine
import Synchronization

/// The state of a frame in its record; all values fit the 4 bits of the tag.
enum FrameState {
  /// Not memory: pads the table to a multiple of the largest block.
  static var absent: UInt32 { 0 }
  /// Memory that is never handed out.
  static var reserved: UInt32 { 1 }
  /// The first frame of a free block.
  static var free: UInt32 { 2 }
  /// The first frame of a block that is handed out.
  static var used: UInt32 { 3 }
  /// A frame of a block, free or used, but not its first.
  static var inside: UInt32 { 4 }
  /// A free frame in the list of a CPU, or in a node's pool of zeroed frames; to the free lists a used block of order 0.
  static var listed: UInt32 { 5 }
}

/// State, order, purpose and range of a frame in one word, so that one comparison decides whether a buddy can merge.
struct FrameTag: Equatable {
  var rawValue: UInt32

  init(rawValue: UInt32) { self.rawValue = rawValue }

  /// A tag; the order of all but the first frame of a block is 0, the purpose of all but used ones is 0.
  init(range: UInt32, state: UInt32, order: UInt32 = 0, purpose: UInt8 = 0) {
    rawValue = range &<< 16 | UInt32(purpose) &<< 8 | state &<< 4 | order
  }

  static var absent: Self { Self(rawValue: 0) }

  var range: Int { Int(truncatingIfNeeded: rawValue &>> 16) }
  var state: UInt32 { rawValue &>> 4 & 15 }
  var order: Int { Int(truncatingIfNeeded: rawValue & 15) }
  var purpose: UInt8 { UInt8(truncatingIfNeeded: rawValue &>> 8) }

  /// State and order alone, in the low 8 bits.
  var stateAndOrder: UInt32 { rawValue & 0xff }

  /// The same range with another state.
  func with(state: UInt32, order: Int = 0, purpose: UInt8 = 0) -> Self {
    Self(
      rawValue: rawValue & 0xffff_0000 | UInt32(purpose) &<< 8 | state &<< 4 | UInt32(truncatingIfNeeded: order)
    )
  }
}

/// The metadata of one frame, or the head of one free list: lists are rings through their head's record.
struct FrameRecord {
  var next: UInt32
  var previous: UInt32
  var tag: FrameTag

  init(next: UInt32, previous: UInt32, tag: FrameTag) {
    self.next = next
    self.previous = previous
    self.tag = tag
  }
}

extension UnsafeMutablePointer where Pointee == FrameRecord {
  // Why the casts are sound: (1) `next` is the first, the tag the last of three 32-bit fields without padding, so both
  // lie aligned inside the record; (2) an Atomic<UInt32> is stored as a UInt32; (3) the record is initialized.
  @inline(__always) var nextWord: UnsafeMutablePointer<Atomic<UInt32>> {
    UnsafeMutableRawPointer(self).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
  @inline(__always) var tagWord: UnsafeMutablePointer<Atomic<UInt32>> {
    (UnsafeMutableRawPointer(self) + 8).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// The index of the next block's record.
  var next: UInt32 {
    @inline(__always) get { nextWord.pointee.load(ordering: .relaxed) }
    @inline(__always) nonmutating set { nextWord.pointee.store(newValue, ordering: .relaxed) }
  }

  /// The index of the previous block's record; under the node's lock only.
  var previous: UInt32 {
    @inline(__always) get { pointee.previous }
    @inline(__always) nonmutating set { pointee.previous = newValue }
  }

  /// The frame's tag.
  var tag: FrameTag {
    @inline(__always) get { FrameTag(rawValue: tagWord.pointee.load(ordering: .relaxed)) }
    @inline(__always) nonmutating set { tagWord.pointee.store(newValue.rawValue, ordering: .relaxed) }
  }

  /// Makes a used frame a listed one.
  ///
  /// Of two CPUs that free the same frame at the same time, one succeeds.
  ///
  /// - Returns: whether the tag was still `used` and has been replaced.
  @inline(__always) func takeBack(_ used: FrameTag) -> Bool {
    tagWord.pointee.compareExchange(
      expected: used.rawValue, desired: used.with(state: FrameState.listed).rawValue, ordering: .relaxed
    ).exchanged
  }
}
