// The ownership of one stack, as a value that cannot be copied: freed once, or reported as lost.

import KernelMachine
import Synchronization

/// A thread's stack.
///
/// The allocator's `free` consumes it, so that freeing twice and using it after free don't compile. One that is dropped
/// without being freed is counted, reported to the configuration's leak handler, and lost.
@frozen public struct ThreadStack: ~Copyable {
  // `discard self` is compiled into the modules that call it, which must then see how the value ends: for this alone these,
  // and nothing else in the module, are `@frozen` and `@usableFromInline`.
  @usableFromInline let packed: PackedStack
  @usableFromInline let control: UnsafeMutablePointer<StackControl>

  init(_ packed: PackedStack, control: UnsafeMutablePointer<StackControl>) {
    self.packed = packed
    self.control = control
  }

  deinit { control.pointee.reportLeak(of: packed) }

  /// The lowest address.
  public var base: VirtualAddress { packed.base }

  /// The first address above the stack.
  public var top: VirtualAddress { packed.base + control.pointee.geometry.size }

  /// The size in bytes, `thread_info` included.
  public var size: Int { control.pointee.geometry.size }

  /// The address of `thread_info`.
  public var threadInfo: VirtualAddress { packed.base + control.pointee.geometry.threadInfoOffset }

  /// What the thread's stack frames may use: all but `thread_info`.
  ///
  /// Its `top` is the thread's first stack pointer.
  public var usableRange: StackBounds { control.pointee.geometry.usableRange(base: packed.base) }

  /// The node of the stack's first frame.
  public var node: NodeID { NodeID(packed.node) }

  /// Gives up the value but not the stack: for owners that cannot hold a noncopyable value, such as C.
  ///
  /// The stack comes back into ownership by the allocator's `stack(at:)`.
  ///
  /// - Returns: the stack's base.
  public consuming func detach() -> VirtualAddress { take().base }

  consuming func take() -> PackedStack {
    let packed = packed
    discard self
    return packed
  }
}

/// A stack's base, with what has to be known of it in the 12 bits that a page-aligned address leaves free.
///
///      63                        12  11   10  9  8       0
///     +----------------------------+-----+--+--+----------+
///     |     base address           |mixed|gr|ch|   node   |
///     +----------------------------+-----+--+--+----------+
///                                   growing, charged to a group
@usableFromInline struct PackedStack: Equatable {
  let word: UInt

  init(word: UInt) { self.word = word }

  init(base: VirtualAddress, node: Int, isMixed: Bool) {
    word = base.rawValue | UInt(bitPattern: node) | (isMixed ? Self.mixedBit : 0)
  }

  static var mixedBit: UInt { 1 &<< 11 }
  static var growingBit: UInt { 1 &<< 10 }
  static var chargedBit: UInt { 1 &<< 9 }
  static var maximumNodes: Int { 1 &<< 9 }

  var base: VirtualAddress { VirtualAddress(word & ~0xfff) }
  /// The node of the first frame.
  var node: Int { Int(bitPattern: word & 0x1ff) }
  /// All but the base.
  var tag: UInt { word & 0xfff }
  /// Whether the frames are of several nodes.
  var isMixed: Bool { word & Self.mixedBit != 0 }
  /// Whether not all of its pages need be there.
  var isGrowing: Bool { word & Self.growingBit != 0 }
  /// Whether its frames are charged to a group, which its marker names.
  var isCharged: Bool { word & Self.chargedBit != 0 }
  /// Whether its pages have to be looked at one by one: they are of several nodes, or not all are there.
  var isIrregular: Bool { word & (Self.mixedBit | Self.growingBit) != 0 }
}

/// What a slot's marker entry says of its stack: an invalid entry, whose bits the walkers ignore.
///
///      63    48 47    32 31        24 23      12 11     4 3   1  0
///     +--------+--------+------------+----------+--------+-----+---+
///     |   0    | group  | most pages |   tag    |   0    |state| 0 |     state 0: all zero, there is no stack
///     +--------+--------+------------+----------+--------+-----+---+
///       if charged        that the stack had, if it was shrunk since
struct StackMarker {
  let entry: PageTableEntry

  init(entry: PageTableEntry) { self.entry = entry }

  static func live(_ stack: PackedStack) -> Self { Self(stack, 1) }
  static func cached(_ stack: PackedStack) -> Self { Self(stack, 2) }
  static func retired(_ stack: PackedStack) -> Self { Self(stack, 3) }
  /// Mapped, and never to be handed out again.
  static func quarantined(_ stack: PackedStack) -> Self { Self(stack, 4) }

  init(_ stack: PackedStack, _ state: UInt64) {
    entry = PageTableEntry(rawValue: UInt64(stack.tag) &<< 12 | state &<< 1)
  }

  var isLive: Bool { entry.rawValue & 7 == 2 }
  var isCached: Bool { entry.rawValue & 7 == 4 }
  var isRetired: Bool { entry.rawValue & 7 == 6 }
  var isQuarantined: Bool { entry.rawValue & 15 == 8 }

  /// Whether it says live, and nothing of a group or of pages that the stack once had.
  var isLiveAndNoMore: Bool { entry.rawValue & ~0xfff000 == 2 }

  /// What a live one becomes, cached, by a single exchange; all else that it says stays.
  var claimed: Self { Self(entry: PageTableEntry(rawValue: entry.rawValue ^ 6)) }

  /// The most pages that a stack had before it was shrunk; 0 if it never was.
  var deepestPageCount: Int { Int(truncatingIfNeeded: entry.rawValue &>> 24 & 0xff) }

  /// The group that the stack is charged to; 0 if it is charged to none.
  var group: Int { Int(truncatingIfNeeded: entry.rawValue &>> 32 & 0xffff) }

  /// Whether the stack is charged to a group.
  var isCharged: Bool { entry.rawValue & UInt64(PackedStack.chargedBit) &<< 12 != 0 }

  func withGroup(_ group: Int) -> Self {
    Self(entry: PageTableEntry(rawValue: entry.rawValue | UInt64(truncatingIfNeeded: group & 0xffff) &<< 32))
  }

  func withDeepestPageCount(_ pages: Int) -> Self {
    let rest = entry.rawValue & ~(0xff &<< 24)
    return Self(entry: PageTableEntry(rawValue: rest | UInt64(truncatingIfNeeded: pages & 0xff) &<< 24))
  }

  /// The stack at `base`, where the marker says nothing above its tag (``isLiveAndNoMore``).
  func stack(atBase base: VirtualAddress) -> PackedStack {
    PackedStack(word: base.rawValue | UInt(truncatingIfNeeded: entry.rawValue &>> 12))
  }

  /// The stack at `base`, with the tag that the marker keeps.
  func stack(at base: VirtualAddress) -> PackedStack {
    PackedStack(word: base.rawValue | UInt(truncatingIfNeeded: entry.rawValue &>> 12) & 0xfff)
  }
}
