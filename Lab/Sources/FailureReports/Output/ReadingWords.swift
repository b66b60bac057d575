// Readings of memory in words.

/// Describes the state of memory.
enum ReadingWords {
  /// The first line.
  static func sentence(_ state: MemoryState, name: String, stackBytes: UInt64 = 16384) -> String {
    guard !state.zones.isEmpty else {
      return "No failure: a reading of memory, without the free blocks that would show its pieces."
    }
    let free = state.zones.reduce(UInt64(0)) { $0 &+ $1.free }
    let fits = state.zones.reduce(UInt64(0)) { $0 &+ $1.contiguousStacks(of: stackBytes) }
    let exactness = state.zones.allSatisfy(\.isExact) ? "" : "at most "
    return
      "No failure, a reading: \(Size.text(free)) were free, and \(exactness)\(Size.counted(fits, "contiguous kernel stack")) of \(Size.text(stackBytes)) could have been made of it, zone by zone."
  }

  /// `node 0, zone Normal: 1,779 single pages, none of 8 KiB or 16 KiB, 18 of 32 KiB, …`.
  static func blocks(_ zone: ZoneState) -> String {
    var parts: [String] = []
    var none: [String] = []
    func flush() {
      guard !none.isEmpty else { return }
      parts.append(
        "none of " + (none.count == 1 ? none[0] : none.dropLast().joined(separator: ", ") + " or \(none.last!)")
      )
      none = []
    }
    let highest = zone.counts.lastIndex { $0 > 0 } ?? -1
    for order in zone.counts.indices where order <= highest {
      let size = Size.text(zone.pageBytes << UInt64(order))
      if zone.counts[order] == 0 {
        none.append(size)
        continue
      }
      flush()
      parts.append(
        order == 0
          ? "\(Size.counted(zone.counts[0], "single page"))" : "\(Size.grouped(zone.counts[order])) of \(size)")
    }
    let place = "node \(zone.node), zone \(zone.zone)"
    return "\(place): " + (parts.isEmpty ? "nothing free" : parts.joined(separator: ", "))
  }

  /// `KernelStack 22,720 kB: 1,420 stacks of 16 KiB, 0.3 % of memory`.
  static func stacks(_ state: MemoryState, stackBytes: UInt64 = 16384) -> String? {
    guard let bytes = state.kernelStackBytes else { return nil }
    let share = state.totalBytes.map { ", \(Cures.share(bytes, of: $0)) of memory" } ?? ""
    return
      "kernel stacks take \(Size.kilobytes(bytes)): \(Size.grouped(bytes / stackBytes)) of \(Size.text(stackBytes))\(share)"
  }

  /// What has changed between two readings, zone by zone.
  static func development(from first: MemoryState, to last: MemoryState) -> [String] {
    last.zones.compactMap { zone in
      guard let before = first.zones.first(where: { $0.node == zone.node && $0.zone == zone.zone }),
        before.counts != zone.counts
      else { return nil }
      return
        "since the first reading, node \(zone.node), zone \(zone.zone): free \(Size.text(before.free)) → \(Size.text(zone.free)), largest block \(Size.text(before.largestBlock)) → \(Size.text(zone.largestBlock))"
    }
  }
}
