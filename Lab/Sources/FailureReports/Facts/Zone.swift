// One zone of memory, as a report of the kernel describes it.

/// A zone's figures.
///
/// Sizes are in bytes.
package struct Zone: Equatable, Sendable {
  /// The NUMA node, if the kernel has printed one.
  package var node: Int?
  /// The name: `DMA`, `DMA32`, `Normal`, `HighMem`, `Movable` or `Device`.
  package var name: String
  /// The line of the file where its figures begin.
  package var line: Int
  /// Free memory of every kind.
  package var free: Figure
  /// The watermark below which only the kernel's own emergencies are served.
  package var min: Figure
  /// The watermark below which memory is reclaimed.
  package var low: Figure?
  /// The watermark at which reclaiming ends.
  package var high: Figure?
  /// What of `free` belongs to the contiguous memory allocator.
  package var cma: Figure?
  /// What is reserved for requests of high order that may not wait.
  package var highAtomic: Figure?
  /// What of the reserve for such requests is free; printed since 6.12.
  package var freeHighAtomic: Figure?
  /// The physical memory of the zone.
  package var present: Figure?
  /// What of it the page allocator has.
  package var managed: Figure?
  /// Kernel stacks in it; since 5.9 the kernel prints that by node.
  package var kernelStack: Figure?
  /// Page cache and reclaimable slabs, added up.
  package var reclaimable: Figure?
  /// Whether all figures of `reclaimable` were printed.
  package var hasAllReclaimable = false
  /// For each possible zone of a request, in pages, what of this zone is kept from it.
  package var lowmemReserve: [UInt64] = []
  /// The line of `lowmemReserve`.
  package var reserveLine: Int?
  /// Whether the line has its end: then what it does not name is not there.
  package var isComplete: Bool

  /// `node 0, zone Normal` or `zone Normal`.
  package var place: String { (node.map { "node \($0), " } ?? "") + "zone \(name)" }
}

/// The names of zones, and which of them may serve a request.
package enum ZoneName {
  /// All zones, the lowest first.
  package static let all = ["DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"]

  /// The place of a zone among all, the lowest first.
  package static func rank(_ name: String) -> Int { all.firstIndex(of: name) ?? all.count }
}
