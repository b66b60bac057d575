// Free memory of a machine at one moment, from wherever it was read.

/// The free blocks of one zone, and what of them can be used.
package struct ZoneState: Equatable, Sendable {
  package var node: Int
  package var zone: String
  package var pageBytes: UInt64
  /// Free blocks of each order.
  package var counts: [UInt64]
  /// How many of them any request of the kernel may take, at most.
  package var usable: [UInt64]
  /// Whether `usable` is exact.
  package var isExact: Bool
  /// Memory below which ordinary requests are refused, in bytes, if known.
  package var minimum: UInt64?
  /// What is kept from requests that could use higher zones, in bytes, if known.
  package var lowmemReserve: UInt64?
  /// What of the free memory belongs to the contiguous memory allocator, in bytes, if known.
  package var contiguous: UInt64?
  /// The line of the file, or 0 on a live machine.
  package var line: Int

  /// Free memory in bytes.
  package var free: UInt64 { Self.bytes(counts, pageBytes) }

  /// Usable free memory in bytes, at most.
  package var usableFree: UInt64 { Self.bytes(usable, pageBytes) }

  private static func bytes(_ counts: [UInt64], _ page: UInt64) -> UInt64 {
    counts.indices.reduce(0) { $0 &+ counts[$1] &* page << UInt64($1) }
  }

  /// The size of the largest free block, or 0.
  package var largestBlock: UInt64 { counts.lastIndex { $0 > 0 }.map { pageBytes << UInt64($0) } ?? 0 }

  /// The size of the largest usable block, or 0.
  package var largestUsableBlock: UInt64 { usable.lastIndex { $0 > 0 }.map { pageBytes << UInt64($0) } ?? 0 }

  /// The share of free memory that lies in usable blocks too small for `order`, from 0 to 1 (Linux's unusable free index).
  package func unusableFreeIndex(order: Int) -> Double {
    guard free > 0 else { return 0 }
    let large = usable.indices.reduce(UInt64(0)) {
      $1 >= order ? $0 &+ usable[$1] &* pageBytes << UInt64($1) : $0
    }
    return Double(free - min(free, large)) / Double(free)
  }

  /// Whether kernel stacks may lie in it.
  package var servesKernel: Bool { ZoneName.rank(zone) <= ZoneName.rank("Normal") }

  /// How many contiguous stacks of `bytes` could still be made, at most, down to the watermark.
  package func contiguousStacks(of bytes: UInt64) -> UInt64 {
    guard servesKernel else { return 0 }
    let order = Diagnosis.order(of: bytes, page: pageBytes)
    let size = pageBytes << UInt64(order)
    let pieces = usable.indices.reduce(UInt64(0)) { $1 >= order ? $0 &+ usable[$1] << UInt64($1 - order) : $0 }
    let kept = (minimum ?? 0) &+ (lowmemReserve ?? 0) &+ (isExact ? 0 : contiguous ?? 0)
    return min(pieces, (usableFree - min(usableFree, kept)) / size)
  }
}

/// The free memory of all zones.
package struct MemoryState: Equatable, Sendable {
  package var zones: [ZoneState] = []
  /// Memory of kernel stacks, in bytes, if known.
  package var kernelStackBytes: UInt64?
  /// Threads, if known.
  package var threadCount: UInt64?
  /// All memory, in bytes, if known.
  package var totalBytes: UInt64?

  package init() {}

  /// The state that a snapshot of /proc shows.
  ///
  /// - Parameter pageBytes: the size of a page, which the tables do not tell.
  package init(_ snapshot: Snapshot, pageBytes: UInt64 = 4096, stackBytes: UInt64 = 16384) {
    kernelStackBytes = snapshot.memory["KernelStack"]?.value
    threadCount = kernelStackBytes.map { $0 / stackBytes }
    totalBytes = snapshot.memory["MemTotal"]?.value
    var places: [(Int, String, Int)] = []
    for row in snapshot.rows + snapshot.typeRows
    where !places.contains(where: { $0.0 == row.node && $0.1 == row.zone }) {
      places.append((row.node, row.zone, row.line))
    }
    for (node, name, line) in places {
      let row = snapshot.rows.first { $0.node == node && $0.zone == name }
      let types = snapshot.typeRows.filter { $0.node == node && $0.zone == name }
      let width = row?.counts.count ?? types[0].counts.count
      func sum(_ rows: [Snapshot.Row]) -> [UInt64] {
        rows.reduce(into: [UInt64](repeating: 0, count: width)) { total, row in
          for order in 0..<min(width, row.counts.count) { total[order] += row.counts[order] }
        }
      }
      let counts = row?.counts ?? sum(types)
      let usable =
        types.isEmpty
        ? counts : sum(types.filter { ["Unmovable", "Movable", "Reclaimable"].contains($0.type ?? "") })
      let figures = snapshot.zones.first { $0.node == node && $0.zone == name }
      let names = Set(snapshot.zones.map(\.zone))
      let reserve = figures.flatMap { figures in
        ZoneOrder.indices(of: "Normal", count: figures.protection.count, names: names)
          .map { figures.protection[$0] }.max()
      }
      zones.append(
        ZoneState(
          node: node, zone: name, pageBytes: pageBytes, counts: counts,
          usable: zip(counts, usable).map { min($0, $1) }, isExact: !types.isEmpty,
          minimum: figures?.min.map { $0 * pageBytes }, lowmemReserve: reserve.map { $0 * pageBytes },
          contiguous: figures?.freeContiguous.map { $0 * pageBytes }, line: line))
    }
  }

  /// The state that the lists of a report show.
  package init(_ report: AllocationReport) {
    for list in report.lists where !list.orders.isEmpty {
      let ranges = list.orders.map { $0.usable(lettersAbsent: true) }
      let zone = report.zones.first { $0.name == list.zone && ($0.node ?? list.node) == (list.node ?? $0.node) }
      zones.append(
        ZoneState(
          node: list.node ?? zone?.node ?? 0, zone: list.zone, pageBytes: list.pageBytes,
          counts: list.orders.map(\.count),
          usable: ranges.map(\.upperBound),
          isExact: list.hasLetters && ranges.allSatisfy { $0.lowerBound == $0.upperBound },
          minimum: zone?.min.value, lowmemReserve: nil, contiguous: zone?.cma?.value, line: list.line))
    }
    let stacks = report.zones.compactMap(\.kernelStack)
    if !stacks.isEmpty {
      kernelStackBytes = stacks.reduce(0) { $0 &+ $1.value }
    } else if !report.stacksOfNodes.isEmpty {
      kernelStackBytes = report.stacksOfNodes.values.reduce(0) { $0 &+ $1.value }
    }
  }
}
