// One entry of a VMSAv8-64 translation table, 4 KiB granule.
//
//   63    59 58  55 54  53  52   51  50      48 47               12 11 10 9  8 7  6 5  4   2  1   0
//  +--------+------+---+---+----+---+----------+-------------------+--+--+----+----+--+-----+---+---+
//  |   -    |  sw  |UXN|PXN|cont|DBM|    0     |  output address   |nG|AF| SH | AP |NS|Attr | T | V |   leaf
//  +--------+------+---+---+----+---+----------+-------------------+--+--+----+----+--+-----+---+---+
//  |attribs |           ignored                |  next table       |      entry count       | 1 | 1 |   table
//  +--------+----------------------------------+-------------------+------------------------+---+---+
//
// V = 0 makes the entry invalid whatever the other bits say. Two kinds of invalid entry are told apart:
// all zero is *empty*; anything else with V = 0 is *retired*: the mapping is gone, but the entry still carries the
// address of the frame it named, which must not be used for anything new until an invalidation has completed.
// Bits 11:2 of a table descriptor are ignored by the walker; the entry count of the table it points to is kept there.
//
// Source: Arm Architecture Reference Manual (DDI 0487), D8.3 "Translation table descriptor formats".

/// What code may do with a mapped page.
public enum PagePermissions: UInt8, Equatable, Sendable {
  /// The kernel reads and writes; nothing executes.
  case kernelReadWrite
  /// The kernel reads; nothing writes or executes.
  case kernelReadOnly
  /// The kernel reads and executes; nothing writes.
  case kernelExecute
  /// EL0 and the kernel read and write; nothing executes.
  case userReadWrite
  /// EL0 and the kernel read; nothing writes or executes.
  case userReadOnly
  /// EL0 reads and executes, the kernel reads; nothing writes.
  case userExecute
}

/// An entry of a translation table: empty, retired, or valid (a table, a block or a page).
public struct PageTableEntry: Equatable, Hashable, Sendable {
  /// The 64 bits as they lie in memory.
  public var rawValue: UInt64

  /// Wraps the 64 bits.
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// No mapping and no address: all bits zero.
  public static var empty: Self { Self(rawValue: 0) }

  static var addressMask: UInt64 { 0x0000_ffff_ffff_f000 }
  static var countMask: UInt64 { 0x0ffc }

  /// Whether a walker would use the entry.
  public var isValid: Bool { rawValue & 1 != 0 }
  /// Whether all bits are zero.
  public var isEmpty: Bool { rawValue == 0 }
  /// Whether the entry is invalid but still carries the address of the frame it named.
  public var isRetired: Bool { rawValue & 1 == 0 && rawValue != 0 }
  /// Whether the entry, read from a level above the last, points to a table (as opposed to a block).
  public var isTable: Bool { rawValue & 3 == 3 }

  /// The frame that a valid or retired entry names.
  public var frame: PageFrame { PageFrame(UInt((rawValue & Self.addressMask) &>> 12)) }

  /// The same entry, invalid: what a mapping becomes between its unmapping and the completed invalidation.
  public var retired: Self { Self(rawValue: rawValue & ~1) }

  /// How many entries of the table that this table descriptor points to are not empty: 0…512.
  public var entryCount: Int { Int((rawValue & Self.countMask) &>> 2) }

  /// The same table descriptor with another entry count.
  public func withEntryCount(_ count: Int) -> Self {
    Self(rawValue: rawValue & ~Self.countMask | (UInt64(truncatingIfNeeded: count) &<< 2) & Self.countMask)
  }

  /// A descriptor that points to the table in `frame`, with an entry count of 0.
  public static func table(_ frame: PageFrame) -> Self {
    Self(rawValue: UInt64(frame.number) &<< 12 | 3)
  }

  /// A last-level descriptor that maps one page.
  ///
  /// AF is set; user pages are non-global.
  public static func page(
    _ frame: PageFrame, _ permissions: PagePermissions, kind: MemoryKind = .normal,
    indices: MemoryAttributeIndices = .standard
  ) -> Self {
    Self(rawValue: UInt64(frame.number) &<< 12 | attributes(permissions, indices[kind]) | 3)
  }

  /// A level-1 or level-2 descriptor that maps a block of 1 GiB or 2 MiB.
  ///
  /// The frame must be aligned to the block.
  public static func block(
    _ frame: PageFrame, _ permissions: PagePermissions, kind: MemoryKind = .normal,
    indices: MemoryAttributeIndices = .standard
  ) -> Self {
    Self(rawValue: UInt64(frame.number) &<< 12 | attributes(permissions, indices[kind]) | 1)
  }

  // AF = bit 10, inner shareable = 0b11 at bit 8, AP[1] (EL0) = bit 6, AP[2] (read-only) = bit 7, nG = bit 11,
  // PXN = bit 53, UXN = bit 54.
  static func attributes(_ permissions: PagePermissions, _ attributeIndex: UInt64) -> UInt64 {
    let common: UInt64 = 1 &<< 10 | 3 &<< 8 | attributeIndex &<< 2
    let privilegedNever: UInt64 = 1 &<< 53
    let userNever: UInt64 = 1 &<< 54
    let readOnly: UInt64 = 1 &<< 7
    let user: UInt64 = 1 &<< 6 | 1 &<< 11
    switch permissions {
    case .kernelReadWrite: return common | privilegedNever | userNever
    case .kernelReadOnly: return common | readOnly | privilegedNever | userNever
    case .kernelExecute: return common | readOnly | userNever
    case .userReadWrite: return common | user | privilegedNever | userNever
    case .userReadOnly: return common | user | readOnly | privilegedNever | userNever
    case .userExecute: return common | user | readOnly | privilegedNever
    }
  }

  /// Whether a store through this leaf entry is allowed at its privilege (AP[2] clear).
  public var isWritable: Bool { rawValue & (1 &<< 7) == 0 }
  /// Whether EL0 may access the page (AP[1]).
  public var isUserAccessible: Bool { rawValue & (1 &<< 6) != 0 }
  /// Whether EL1 may execute from the page (PXN clear).
  public var isKernelExecutable: Bool { rawValue & (1 &<< 53) == 0 }
  /// Whether EL0 may execute from the page (UXN clear).
  public var isUserExecutable: Bool { rawValue & (1 &<< 54) == 0 }

  /// The same leaf entry, read-only: tightening, so an invalidation must complete before it can be relied on.
  public var readOnly: Self { Self(rawValue: rawValue | 1 &<< 7) }
  /// The same leaf entry, writable: loosening, which needs no invalidation.
  public var writable: Self { Self(rawValue: rawValue & ~(1 &<< 7)) }
}
