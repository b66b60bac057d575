// Where the page-table entries of neighbouring pages of a stack lie.
//
//      first                               end
//     +--------+--------+--------+--------+
//     | page 0 | page 1 |   …    | top    |      8 bytes each, in the order of addresses, in one table
//     +--------+--------+--------+--------+

import KernelMachine

/// Some neighbouring pages of a stack, as the locations of their entries, from the lowest page up.
///
/// No `Sequence`: its requirements may allocate, which code for a kernel must not.
struct StackPages {
  /// Where the lowest page's entry lies.
  private(set) var first: PhysicalAddress
  /// Where the entry above the highest page's lies.
  let end: PhysicalAddress

  static var entryBytes: Int { 8 }

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

  /// The same without the highest.
  @inline(__always) var belowTop: Self { Self(from: first, to: end + -Self.entryBytes) }

  /// Where the entry of a page lies, counted from the lowest.
  ///
  /// Not checked.
  @inline(__always) subscript(page: Int) -> PhysicalAddress { first + page &* Self.entryBytes }

  /// Takes the lowest page off these, and returns where its entry lies; `nil` when none is left.
  @inline(__always) mutating func popFirst() -> PhysicalAddress? {
    guard first < end else { return nil }
    defer { first = first + Self.entryBytes }
    return first
  }
}

extension ThreadStackAllocator where F: ~Copyable, A: ~Copyable {
  /// All pages of the stack with this base.
  ///
  /// Its group must have a table.
  @inline(__always) func pages(ofBase base: VirtualAddress) -> StackPages {
    pages(at: stackEntries(ofBase: base))
  }

  /// All pages of a slot's stack.
  @inline(__always) func pages(ofSlot slot: Int) -> StackPages { pages(at: stackEntries(ofSlot: slot)) }

  /// All pages of the stack with this base, in a table that was seen.
  @inline(__always) func pages(ofBase base: VirtualAddress, in view: TableView) -> StackPages {
    pages(at: stackEntries(ofBase: base, in: view))
  }

  @inline(__always) private func pages(at entries: PhysicalAddress) -> StackPages {
    StackPages(from: entries, to: entries + control.pointee.stackEntryBytes)
  }

  /// How many of some pages have a frame: their entries are valid, or retired.
  func backedCount(of pages: StackPages) -> Int {
    var count = 0
    var rest = pages
    while let location = rest.popFirst() {
      if !machine.readEntry(at: location).isEmpty { count &+= 1 }
    }
    return count
  }
}
