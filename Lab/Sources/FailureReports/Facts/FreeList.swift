// The free blocks of a zone.

/// What kind of allocations a free block is kept for.
package struct MigrateTypes: OptionSet, Hashable, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// `U`.
  package static let unmovable = MigrateTypes(rawValue: 1)
  /// `M`.
  package static let movable = MigrateTypes(rawValue: 2)
  /// `E`.
  package static let reclaimable = MigrateTypes(rawValue: 4)
  /// `R`, the last reserve of kernels before 4.4.
  package static let reserve = MigrateTypes(rawValue: 8)
  /// `H`.
  package static let highAtomic = MigrateTypes(rawValue: 16)
  /// `C`.
  package static let contiguous = MigrateTypes(rawValue: 32)
  /// `I`.
  package static let isolated = MigrateTypes(rawValue: 64)

  /// What any request of the kernel may take.
  package static let usable: MigrateTypes = [.unmovable, .movable, .reclaimable]

  /// The type that a letter stands for.
  init?(letter: UInt8) {
    switch letter {
    case UInt8(ascii: "U"): self = .unmovable
    case UInt8(ascii: "M"): self = .movable
    case UInt8(ascii: "E"): self = .reclaimable
    case UInt8(ascii: "R"): self = .reserve
    case UInt8(ascii: "H"): self = .highAtomic
    case UInt8(ascii: "C"): self = .contiguous
    case UInt8(ascii: "I"): self = .isolated
    default: return nil
    }
  }
}

/// The free blocks of one order.
package struct FreeBlocks: Equatable, Sendable {
  /// How many.
  package var count: UInt64
  /// Which types have at least one of them; `nil` where the kernel does not say.
  package var types: MigrateTypes?
  /// How many may be taken at least and at most, by the letters: each type that is named has one block or more.
  ///
  /// - Parameter lettersAbsent: whether blocks without letters count as usable.
  package func usable(lettersAbsent: Bool) -> ClosedRange<UInt64> {
    guard let types else { return (lettersAbsent ? count : 0)...count }
    let good = types.intersection([.usable, .reserve])
    if good.isEmpty { return 0...0 }
    let goodKinds = UInt64(types.intersection(.usable).rawValue.nonzeroBitCount)
    let otherKinds = UInt64(types.subtracting([.usable, .reserve]).rawValue.nonzeroBitCount)
    if otherKinds == 0 && !types.contains(.reserve) { return count...count }
    let most = count >= otherKinds ? count - otherKinds : 0
    return Swift.min(goodKinds, most)...most
  }
}

/// The free blocks of a zone by order, as in `Node 0 DMA: 1*4kB (U) 0*8kB … = 15360kB`.
package struct FreeList: Equatable, Sendable {
  /// The NUMA node, if printed.
  package var node: Int?
  /// The zone's name.
  package var zone: String
  /// The line of the file.
  package var line: Int
  /// The size of a page, which is that of the smallest block.
  package var pageBytes: UInt64
  /// The blocks of each order, from 0.
  package var orders: [FreeBlocks]
  /// The sum that the kernel printed, in bytes.
  package var total: UInt64

  /// The size of a block of `order`.
  package func blockBytes(_ order: Int) -> UInt64 { pageBytes << UInt64(order) }

  /// The free memory that the counts make.
  package var sum: UInt64 {
    orders.indices.reduce(0) { $0 &+ orders[$1].count &* blockBytes($1) }
  }

  /// The size of the largest free block, or 0.
  package var largestBlockBytes: UInt64 {
    orders.indices.last { orders[$0].count > 0 }.map(blockBytes) ?? 0
  }

  /// Whether any block has letters.
  package var hasLetters: Bool { orders.contains { $0.types != nil } }

  /// The size of the largest block that a request of the kernel may take; `nil` where letters are needed and absent.
  package func largestUsableBlockBytes(lettersAbsent: Bool) -> UInt64? {
    let lettersMissing = !hasLetters && sum > 0 && !lettersAbsent
    if lettersMissing { return nil }
    return orders.indices.last { orders[$0].usable(lettersAbsent: lettersAbsent).lowerBound > 0 }.map(
      blockBytes) ?? 0
  }
}
