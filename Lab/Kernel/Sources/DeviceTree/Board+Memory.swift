// The memory that a board's device tree gives the kernel.
//
//   RAM by the tree    |=====================================|
//   no-map                    |#####|          |#|
//   RAM of the map     |======|     |==========| |===========|      mapped, handed out where it is not reserved
//
// Memory marked `no-map` is not part of the kernel's RAM: no linear map has it, so no CPU speculates into it.

import KernelMachine
import KernelPageFrames

extension Board {
  /// Adds the RAM without its `no-map` ranges to a map, and the reservations.
  ///
  /// - Throws: the error of the map.
  public func addMemory(to map: inout PhysicalMemoryMap) throws(PhysicalMemoryError) {
    for index in 0..<memoryCount { try addMapped(memory[index], to: &map) }
    for index in 0..<reservationCount where !reservations[index].isUnmapped {
      let range = reservations[index]
      try map.reserve(start: PhysicalAddress(range.start), byteCount: Int(clamping: range.byteCount))
    }
  }

  private func addMapped(_ range: BoardRange, to map: inout PhysicalMemoryMap) throws(PhysicalMemoryError) {
    var rest = range
    while rest.byteCount > 0 {
      let hole = lowestHole(in: rest)
      let count = hole.map { $0.start - rest.start } ?? rest.byteCount
      // A piece without a whole frame is left out; a whole range without one is an error of the tree.
      if count == range.byteCount || Self.holdsFrame(rest.start, count) {
        try map.addMemory(
          start: PhysicalAddress(rest.start), byteCount: Int(clamping: count), node: NodeID(range.node))
      }
      // The hole lies in the rest, so this cannot overflow; if the rest itself wraps around, the map refuses it.
      let skipped = count + (hole?.byteCount ?? 0)
      rest.start &+= skipped
      rest.byteCount -= skipped
    }
  }

  // The part of the lowest hole that lies in a range, or `nil` if there is none.
  private func lowestHole(in range: BoardRange) -> BoardRange? {
    var lowest: BoardRange?
    for index in 0..<reservationCount where reservations[index].isUnmapped {
      let hole = reservations[index]
      guard hole.overlaps(range) else { continue }
      let start = max(hole.start, range.start)
      if let lowest, lowest.start <= start { continue }
      lowest = BoardRange(
        start: start,
        byteCount: min(hole.byteCount - (start - hole.start), range.byteCount - (start - range.start)))
    }
    return lowest
  }

  private static func holdsFrame(_ start: UInt, _ byteCount: UInt) -> Bool {
    let inFirst = (0 &- start) % UInt(pageSize)
    return byteCount >= inFirst && byteCount - inFirst >= UInt(pageSize)
  }
}
