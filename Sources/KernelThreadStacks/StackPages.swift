// Where the page-table entries of neighbouring pages of a stack lie.
//
//      first                               end
//     +--------+--------+--------+--------+
//     | page 0 | page 1 |   …    | top    |      8 bytes each, in the order of addresses, in one table
//     +--------+--------+--------+--------+
//
// A loop over the pages of one stack takes locations off such a range: popFirst() until none is left, or removeFirst() as
// many times as there are pages.

import KernelMachine

/// Some neighbouring pages of a stack, as the locations of their entries, from the lowest page up.
struct StackPages {
  /// Where the lowest page's entry lies.
  private(set) var first: PhysicalAddress
  /// Where the entry above the highest page's lies.
  let end: PhysicalAddress

  /// The bytes of one entry.
  static var entryBytes: Int { 8 }
  /// log2 of the bytes of addresses that one byte of entries stands for.
  static var entryShift: Int { 9 }

  @inline(__always) init(_ first: PhysicalAddress, count: Int) {
    self.first = first
    end = first + count &* Self.entryBytes
  }

  @inline(__always) init(from first: PhysicalAddress, to end: PhysicalAddress) {
    self.first = first
    self.end = end
  }

  /// How many pages these are.
  @inline(__always) var count: Int {
    Int(bitPattern: (end.rawValue &- first.rawValue) / UInt(bitPattern: Self.entryBytes))
  }

  /// Whether there are none.
  @inline(__always) var isEmpty: Bool { first >= end }

  /// The same without the highest.
  @inline(__always) var belowTop: Self { Self(from: first, to: end + -Self.entryBytes) }

  /// Where the entry of a page lies, counted from the lowest.
  ///
  /// Not checked.
  @inline(__always) subscript(page: Int) -> PhysicalAddress { first + page &* Self.entryBytes }

  /// Takes the lowest page off these, and returns where its entry lies; `nil` when none is left.
  @inline(__always) mutating func popFirst() -> PhysicalAddress? { isEmpty ? nil : removeFirst() }

  /// Takes the lowest page off these, which are not empty, and returns where its entry lies.
  ///
  /// Not checked.
  @inline(__always) mutating func removeFirst() -> PhysicalAddress {
    let location = first
    first = location + Self.entryBytes
    return location
  }
}

extension StackControl {
  /// All pages of the stack with this base.
  ///
  /// Its slot group must have a table.
  @inline(__always) borrowing func pages(ofBase base: VirtualAddress) -> StackPages {
    pages(at: stackEntries(ofBase: base))
  }

  /// All pages of a stack whose first entry lies there.
  @inline(__always) borrowing func pages(at entries: PhysicalAddress) -> StackPages {
    StackPages(from: entries, to: entries + stackEntryBytes)
  }
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// All pages of the stack with this base.
  ///
  /// Its slot group must have a table.
  @inline(__always) func pages(ofBase base: VirtualAddress) -> StackPages {
    control.pointee.pages(ofBase: base)
  }

  /// All pages of a slot's stack.
  ///
  /// Its slot group must have a table.
  @inline(__always) func pages(ofSlot slot: Int) -> StackPages { pages(ofBase: base(ofSlot: slot)) }

  /// All pages of the stack with this base, in a table that was seen.
  @inline(__always) func pages(ofBase base: VirtualAddress, in view: TableView) -> StackPages {
    control.pointee.pages(at: stackEntries(ofBase: base, in: view))
  }

  /// How many of some pages have a frame, of one page at least: their entries are valid, or retired.
  @inline(__always) func backedCount(of pages: StackPages) -> Int {
    var count = 0
    var rest = pages
    repeat {
      if !machine.readEntry(at: rest.removeFirst()).isEmpty { count &+= 1 }
    } while !rest.isEmpty
    return count
  }
}
