// Addresses: physical, virtual, and the page frame that a physical address lies in.

/// The size of a page and of a page frame: 4 KiB, the only granule that is supported.
public var pageSize: Int { 4096 }

/// log2 of ``pageSize``.
public var pageShift: Int { 12 }

/// An address on the physical bus, in bytes.
public struct PhysicalAddress: Equatable, Hashable, Comparable, Sendable {
  /// The address, in bytes.
  public var rawValue: UInt

  /// Wraps an address given in bytes.
  public init(_ rawValue: UInt) { self.rawValue = rawValue }

  /// The frame that holds this address.
  public var frame: PageFrame { PageFrame(rawValue &>> 12) }

  /// Whether `a` is below `b`.
  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

  /// The address `bytes` further up.
  public static func + (a: Self, bytes: Int) -> Self { Self(a.rawValue &+ UInt(bitPattern: bytes)) }
}

/// An address as the CPU issues it, before translation, in bytes.
public struct VirtualAddress: Equatable, Hashable, Comparable, Sendable {
  /// The address, in bytes.
  public var rawValue: UInt

  /// Wraps an address given in bytes.
  public init(_ rawValue: UInt) { self.rawValue = rawValue }

  /// The first byte of the page that holds this address.
  public var pageBase: Self { Self(rawValue & ~0xfff) }

  /// The address as a pointer: only on a machine that runs in the address space it manages.
  public var pointer: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: rawValue) }

  /// Whether `a` is below `b`.
  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

  /// The address `bytes` further up.
  public static func + (a: Self, bytes: Int) -> Self { Self(a.rawValue &+ UInt(bitPattern: bytes)) }

  /// The address `bytes` further down.
  public static func - (a: Self, bytes: Int) -> Self { Self(a.rawValue &- UInt(bitPattern: bytes)) }

  /// The distance from `b` to `a`, in bytes.
  public static func - (a: Self, b: Self) -> Int { Int(bitPattern: a.rawValue &- b.rawValue) }
}

/// A page frame: 4 KiB of physical memory, named by its number (physical address divided by 4,096).
public struct PageFrame: Equatable, Hashable, Comparable, Sendable {
  /// The frame's number.
  public var number: UInt

  /// Wraps a frame number.
  public init(_ number: UInt) { self.number = number }

  /// The physical address of the frame's first byte.
  public var physicalAddress: PhysicalAddress { PhysicalAddress(number &<< 12) }

  /// Whether `a` is below `b`.
  public static func < (a: Self, b: Self) -> Bool { a.number < b.number }

  /// The frame `frames` further up.
  public static func + (a: Self, frames: Int) -> Self { Self(a.number &+ UInt(bitPattern: frames)) }

  /// The distance from `b` to `a`, in frames.
  public static func - (a: Self, b: Self) -> Int { Int(bitPattern: a.number &- b.number) }
}

/// A NUMA node: a part of memory that is near to some of the CPUs.
///
/// Numbered from 0.
public struct NodeID: Equatable, Hashable, Comparable, Sendable {
  /// The node's number, from 0.
  public var index: Int

  /// Wraps a node number.
  public init(_ index: Int) { self.index = index }

  /// Whether `a` is below `b`.
  public static func < (a: Self, b: Self) -> Bool { a.index < b.index }
}
