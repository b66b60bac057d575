// A tree of translation tables, 4 KiB granule, and the look-up of addresses in it.
//
//   63      48 47       39 38       30 29       21 20       12 11         0
//  +----------+-----------+-----------+-----------+-----------+------------+
//  | half     | level 0   | level 1   | level 2   | level 3   | offset     |
//  +----------+-----------+-----------+-----------+-----------+------------+
//               512 GiB     1 GiB       2 MiB       4 KiB       an entry of this level spans
//
// With 39-bit addresses the root is a level-1 table, with 48-bit addresses a level-0 table.
//
// The life of an entry, leaf and table alike (walkers read the valid bit; software uses the rest of an invalid entry):
//
//            link / map                     retire                       sweep
//   empty ----------------> valid ---------------------> retired ----------------------> empty
//     all bits 0             ^    valid bit cleared,        |   after the invalidation has completed:
//                            |    address kept              |   the frame is read back from the entry
//                            +------------------------------+   and given back
//                              tables only: the same table is linked again before it was swept
//
// A table descriptor counts, in bits that walkers ignore, the *live* entries of the table that it points to: those that
// are valid, or whose retirement has not been reported yet (see `withdraw`). When the count reaches 0 the descriptor is
// retired in turn, so one invalidation covers leaf and tables; when it is swept, the table's frame is freed. No search is
// needed at any level. Leaf tables of stack arenas are not counted: their entries belong to the stack allocator.
//
// Nothing here takes a lock: the owner of a space ensures that one CPU at a time changes its tables.
//
// Source: Arm Architecture Reference Manual (DDI 0487), D8.2 "Translation process", D8.14 "TLB maintenance".

import KernelMachine

/// A handle to the translation tables of the kernel's half or of one user address space.
public struct TranslationTables<M: Machine> {
  /// The machine whose memory the tables lie in.
  public let machine: M
  /// The root table.
  public let root: PhysicalAddress
  /// The root table's level: 1 for 39-bit addresses, 0 for 48-bit ones.
  public let rootLevel: Int

  /// Makes a handle to the tables below a root, which must exist.
  ///
  /// `machine.virtualAddressBits` says how deep they are.
  public init(root: PhysicalAddress, machine: M) {
    self.machine = machine
    self.root = root
    rootLevel = machine.virtualAddressBits == 48 ? 0 : 1
  }

  /// Makes a handle to the kernel's own tables.
  public init(kernelOf machine: M) where M: PageTableMachine {
    self.init(root: machine.kernelRoot, machine: machine)
  }

  /// log2 of the bytes that one entry of `level` spans.
  static func shift(_ level: Int) -> UInt { UInt(bitPattern: 39 &- 9 &* level) }

  /// The physical address of the entry for `address` in a table of `level`.
  static func location(
    of address: UInt, in table: PhysicalAddress, level: Int
  ) -> PhysicalAddress {
    PhysicalAddress(table.rawValue &+ ((address &>> shift(level)) & 511) &* 8)
  }

  /// Finds the last-level entry of `address` if its table exists.
  ///
  /// - Returns: the physical address of the entry; `nil` where a table is missing or a block is mapped.
  public func existingLeafEntry(at address: VirtualAddress) -> PhysicalAddress? {
    var table = root
    var level = rootLevel
    while level < 3 {
      let entry = machine.readEntry(at: Self.location(of: address.rawValue, in: table, level: level))
      guard entry.isValid, entry.isTable else { return nil }
      table = entry.frame.physicalAddress
      level &+= 1
    }
    return Self.location(of: address.rawValue, in: table, level: 3)
  }

  /// Finds the descriptor of the leaf table that holds the entries of all pages of a range.
  ///
  /// - Returns: its physical address; `nil` where a table is missing or retired, or the range spans several.
  func leafTableDescriptor(of range: VirtualAddressRange) -> PhysicalAddress? {
    let first = range.lowerBound.rawValue
    guard (first ^ (range.upperBound.rawValue &- 1)) &>> 21 == 0 else { return nil }
    var table = root
    var level = rootLevel
    while true {
      let location = Self.location(of: first, in: table, level: level)
      let entry = machine.readEntry(at: location)
      guard entry.isValid, entry.isTable else { return nil }
      if level == 2 { return location }
      table = entry.frame.physicalAddress
      level &+= 1
    }
  }

  /// Looks an address up as a table walker would.
  ///
  /// - Returns: the leaf entry that maps the address, page or block; `nil` where nothing is mapped.
  public func translate(_ address: VirtualAddress) -> MappedLeaf? {
    var table = root
    var level = rootLevel
    while true {
      let location = Self.location(of: address.rawValue, in: table, level: level)
      let entry = machine.readEntry(at: location)
      guard entry.isValid else { return nil }
      if level == 3 || !entry.isTable {
        let base = address.rawValue & ~(1 &<< Self.shift(level) &- 1)
        return MappedLeaf(address: VirtualAddress(base), location: location, entry: entry, level: level)
      }
      table = entry.frame.physicalAddress
      level &+= 1
    }
  }
}

/// A leaf entry of a translation table, of a page or a block, and its location.
public struct MappedLeaf: Equatable, Sendable {
  /// The first virtual address that the entry maps.
  public let address: VirtualAddress
  /// The physical address of the entry.
  public let location: PhysicalAddress
  /// The entry, as it was read.
  public let entry: PageTableEntry
  /// The entry's level: 3 for a page, 2 for a block of 2 MiB, 1 for a block of 1 GiB.
  public let level: Int

  init(address: VirtualAddress, location: PhysicalAddress, entry: PageTableEntry, level: Int) {
    self.address = address
    self.location = location
    self.entry = entry
    self.level = level
  }

  /// The number of bytes that the entry maps.
  public var byteCount: Int { 1 &<< (39 &- 9 &* level) }

  /// The frame that the entry maps an address to.
  public func frame(of address: VirtualAddress) -> PageFrame {
    entry.frame + ((address - self.address) &>> 12)
  }

  /// The physical address that the entry maps an address to.
  public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
    entry.frame.physicalAddress + (address - self.address)
  }
}

extension PageTableEntry {
  /// Whether an entry from a level above the last names a table, be it linked or retired.
  var namesTable: Bool { rawValue & 2 != 0 }

  /// The same entry, valid.
  var linked: PageTableEntry { PageTableEntry(rawValue: rawValue | 1) }
}
