// Addresses of devices behind buses, as the CPU sees them.
//
//     soc { ranges = <0x7e000000 0x3f000000 0x1000000>; serial@7e201000 { reg = <0x7e201000 0x200>; }; };
//
//     0x7e201000 on the bus `soc` is the CPU's 0x3f201000.
//
// Source: Devicetree Specification, release 0.4, 2.3.8 "ranges".

/// The nodes that enclose a position of the tree: how each addresses its children, and where these addresses are in its own parent's.
struct BusAddresses: ~Copyable {
  /// For each depth, the cell counts for the children of the node there; the root itself has the defaults.
  private var cells = InlineArray<65, CellCounts>(repeating: CellCounts())
  /// The `ranges` of the nodes of the first depths: a device deeper than that cannot be addressed.
  private var ranges = InlineArray<8, DeviceTreeValue?>(repeating: nil)

  /// A node begins at a depth, of which nothing is known yet.
  mutating func beginNode(depth: Int) {
    cells[depth] = CellCounts()
    if depth < ranges.count { ranges[depth] = nil }
  }

  /// Stores a property of the node at a depth if it is about addresses; returns whether it is.
  mutating func note(_ name: DeviceTreeValue, _ value: DeviceTreeValue, depth: Int) throws(DeviceTreeError)
    -> Bool
  {
    if name.equals("#address-cells") {
      cells[depth].address = try CellCounts.count(value)
    } else if name.equals("#size-cells") {
      cells[depth].size = try CellCounts.count(value)
    } else if name.equals("ranges") {
      if depth < ranges.count { ranges[depth] = value }
    } else {
      return false
    }
    return true
  }

  /// The cell counts for the children of the node at a depth.
  func cells(depth: Int) -> CellCounts { cells[depth] }

  /// The range of the CPU's addresses that a range of a node's registers is; `nil` if the CPU cannot address it.
  ///
  /// - Parameter depth: that of the node.
  func translate(_ range: BoardRange, depth: Int) -> BoardRange? {
    guard depth <= ranges.count else { return nil }
    var range = range
    // Depth 1 is the root, whose children have the CPU's addresses.
    var bus = depth - 1
    while bus > 1 {
      guard let map = ranges[bus], let start = translate(range, map, from: cells[bus], to: cells[bus - 1])
      else {
        return nil
      }
      range.start = start
      bus -= 1
    }
    return range
  }

  private func translate(
    _ range: BoardRange, _ map: DeviceTreeValue, from child: CellCounts, to parent: CellCounts
  ) -> UInt? {
    if map.byteCount == 0 { return range.start }
    let perEntry = child.perRange + Int(parent.address)
    guard perEntry > 0 else { return nil }
    for index in 0..<map.cellCount / perEntry {
      let first = index * perEntry
      let parentCell = first + Int(child.address)
      let entry = BoardRange(
        start: map.number(at: first, cells: Int(child.address)),
        byteCount: map.number(at: parentCell + Int(parent.address), cells: Int(child.size)))
      guard entry.contains(range) else { continue }
      return map.number(at: parentCell, cells: Int(parent.address)) &+ (range.start - entry.start)
    }
    return nil
  }
}
