// The ownership of one stack, as a value that cannot be copied: freed once, or reported as lost.

import KernelMachine
import Synchronization

/// A thread's stack.
///
/// The allocator's `free` consumes it, so that freeing twice and using it after free don't compile. One that is dropped
/// without being freed is counted, reported to the configuration's leak handler, and lost.
@frozen public struct ThreadStack: ~Copyable {
  @usableFromInline let packed: PackedStack
  @usableFromInline let control: UnsafeMutablePointer<StackControl>

  @inlinable init(_ packed: PackedStack, control: UnsafeMutablePointer<StackControl>) {
    self.packed = packed
    self.control = control
  }

  @inlinable deinit { control.pointee.reportLeak(of: packed) }

  /// The lowest address.
  @inlinable public var base: VirtualAddress { packed.base }

  /// The first address above the stack.
  @inlinable public var top: VirtualAddress { packed.base + control.pointee.geometry.size }

  /// The size in bytes, `thread_info` included.
  @inlinable public var size: Int { control.pointee.geometry.size }

  /// The address of `thread_info`.
  @inlinable public var threadInfo: VirtualAddress { packed.base + control.pointee.geometry.threadInfoOffset }

  /// What the thread's frames may use: all but `thread_info`.
  ///
  /// Its `top` is the thread's first stack pointer.
  @inlinable public var usableRange: StackBounds { control.pointee.geometry.usableRange(base: packed.base) }

  /// The node of the stack's first frame.
  @inlinable public var node: NodeID { NodeID(packed.node) }

  /// Gives up the value but not the stack: for owners that cannot hold a noncopyable value, such as C.
  ///
  /// The stack comes back into ownership by the allocator's `stack(at:)`.
  ///
  /// - Returns: the stack's base.
  @inlinable public consuming func detach() -> VirtualAddress { take().base }

  @inlinable consuming func take() -> PackedStack {
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
@frozen @usableFromInline struct PackedStack: Equatable {
  @usableFromInline let word: UInt

  @inlinable init(word: UInt) { self.word = word }

  @inlinable init(base: VirtualAddress, node: Int, isMixed: Bool) {
    word = base.rawValue | UInt(bitPattern: node) | (isMixed ? Self.mixedBit : 0)
  }

  @inlinable static var mixedBit: UInt { 1 &<< 11 }
  @inlinable static var growingBit: UInt { 1 &<< 10 }
  @inlinable static var chargedBit: UInt { 1 &<< 9 }
  @inlinable static var maximumNodes: Int { 1 &<< 9 }

  @inlinable var base: VirtualAddress { VirtualAddress(word & ~0xfff) }
  /// The node of the first frame.
  @inlinable var node: Int { Int(bitPattern: word & 0x1ff) }
  /// All but the base.
  @inlinable var tag: UInt { word & 0xfff }
  /// Whether the frames are of several nodes.
  @inlinable var isMixed: Bool { word & Self.mixedBit != 0 }
  /// Whether not all of its pages need be there.
  @inlinable var isGrowing: Bool { word & Self.growingBit != 0 }
  /// Whether its frames are charged to a group, which its marker names.
  @inlinable var isCharged: Bool { word & Self.chargedBit != 0 }
  /// Whether its pages have to be looked at one by one: they are of several nodes, or not all are there.
  @inlinable var isIrregular: Bool { word & (Self.mixedBit | Self.growingBit) != 0 }
}

/// What a slot's marker entry says of its stack: an invalid entry, whose bits the walkers ignore.
///
///      63    48 47    32 31        24 23      12 11     4 3   1  0
///     +--------+--------+------------+----------+--------+-----+---+
///     |   0    | group  | most pages |   tag    |   0    |state| 0 |     state 0: all zero, there is no stack
///     +--------+--------+------------+----------+--------+-----+---+
///       if charged        that the stack had, if it was shrunk since
@frozen @usableFromInline struct StackMarker {
  @usableFromInline let entry: PageTableEntry

  @inlinable init(entry: PageTableEntry) { self.entry = entry }

  @inlinable static func live(_ stack: PackedStack) -> Self { Self(stack, 1) }
  @inlinable static func cached(_ stack: PackedStack) -> Self { Self(stack, 2) }
  @inlinable static func retired(_ stack: PackedStack) -> Self { Self(stack, 3) }
  /// Mapped, and never to be handed out again.
  @inlinable static func quarantined(_ stack: PackedStack) -> Self { Self(stack, 4) }

  @inlinable init(_ stack: PackedStack, _ state: UInt64) {
    entry = PageTableEntry(rawValue: UInt64(stack.tag) &<< 12 | state &<< 1)
  }

  @inlinable var isLive: Bool { entry.rawValue & 7 == 2 }
  @inlinable var isCached: Bool { entry.rawValue & 7 == 4 }
  @inlinable var isRetired: Bool { entry.rawValue & 7 == 6 }
  @inlinable var isQuarantined: Bool { entry.rawValue & 15 == 8 }

  /// The most pages that a stack had before it was shrunk; 0 if it never was.
  @inlinable var deepestPageCount: Int { Int(truncatingIfNeeded: entry.rawValue &>> 24 & 0xff) }

  /// The group that the stack is charged to; 0 if it is charged to none.
  @inlinable var group: Int { Int(truncatingIfNeeded: entry.rawValue &>> 32 & 0xffff) }

  /// Whether the stack is charged to a group.
  @inlinable var isCharged: Bool { entry.rawValue & UInt64(PackedStack.chargedBit) &<< 12 != 0 }

  @inlinable func withGroup(_ group: Int) -> Self {
    Self(entry: PageTableEntry(rawValue: entry.rawValue | UInt64(truncatingIfNeeded: group & 0xffff) &<< 32))
  }

  @inlinable func withDeepestPageCount(_ pages: Int) -> Self {
    let rest = entry.rawValue & ~(0xff &<< 24)
    return Self(entry: PageTableEntry(rawValue: rest | UInt64(truncatingIfNeeded: pages & 0xff) &<< 24))
  }

  /// The stack at `base`, with the tag that the marker keeps.
  @inlinable func stack(at base: VirtualAddress) -> PackedStack {
    PackedStack(word: base.rawValue | UInt(truncatingIfNeeded: entry.rawValue &>> 12) & 0xfff)
  }
}
