// A second reader of device trees, with arrays and without a thought to speed: what the kernel's reader is compared with.
//
// Source: Devicetree Specification, release 0.4, chapters 2 and 5.

import DeviceTree

/// What a device tree claims, as far as memory is concerned.
struct DeviceTreeReference {
  /// RAM, in the tree's order.
  var memory: [BoardRange] = []
  /// What is somebody else's: nodes below /reserved-memory, then the list of reservations.
  var reservations: [BoardRange] = []
  /// The CPUs' affinities, in the tree's order.
  var affinities: [UInt64] = []
  /// `bootargs` of the last /chosen.
  var commandLine: [UInt8] = []

  private struct Node {
    var name: [UInt8]
    var cells: (address: Int, size: Int) = (2, 1)
    var properties: [String: [UInt8]] = [:]
    var hasChildren = false
  }

  private let bytes: [UInt8]
  private var nodes: [Node] = []

  /// Reads a tree; `nil` if there is any mistake in it.
  init?(_ tree: UnsafeRawBufferPointer) {
    guard tree.count >= 40, let total = Self.number([UInt8](tree[4..<8])), total >= 40, total <= 2 << 20,
      total <= UInt(tree.count)
    else { return nil }
    bytes = [UInt8](tree[..<Int(total)])
    guard word(0) == 0xd00d_feed, let last = word(20), last >= 16, let version = word(24), version <= 17,
      let structure = word(8), let strings = word(12), let list = word(16),
      [structure, strings, list].allSatisfy({ $0 >= 40 && $0 <= bytes.count })
    else { return nil }
    guard readNodes(from: structure, names: strings), readReservations(from: list) else { return nil }
  }

  private static func number(_ bytes: [UInt8]) -> UInt? {
    bytes.reduce(0) { $0 << 8 | UInt($1) }
  }

  private func word(_ offset: Int) -> Int? {
    guard offset + 4 <= bytes.count else { return nil }
    return bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
  }

  private func name(at offset: Int) -> [UInt8]? {
    guard offset < bytes.count, let end = bytes[offset...].firstIndex(of: 0) else { return nil }
    return end - offset <= FlattenedDeviceTree.longestName ? [UInt8](bytes[offset..<end]) : nil
  }

  // MARK: The structure block

  private mutating func readNodes(from start: Int, names: Int) -> Bool {
    var offset = start
    while let token = word(offset) {
      offset += 4
      switch token {
      case 1:
        guard let name = name(at: offset), nodes.count < FlattenedDeviceTree.maximumDepth else { return false }
        offset = (offset + name.count + 4) / 4 * 4
        finishParent()
        nodes.append(Node(name: name))
      case 2:
        guard !nodes.isEmpty else { return false }
        finishParent()
        nodes.removeLast()
      case 3:
        guard !nodes.isEmpty, let count = word(offset), let place = word(offset + 4),
          count <= bytes.count - offset - 8, let key = name(at: names + place)
        else { return false }
        let value = [UInt8](bytes[offset + 8..<offset + 8 + count])
        offset = (offset + 8 + count + 3) / 4 * 4
        guard add(String(decoding: key, as: UTF8.self), value) else { return false }
      case 4: continue
      case 9: return nodes.isEmpty
      default: return false
      }
    }
    return false
  }

  // Whether it is a property that a tree may have.
  private mutating func add(_ key: String, _ value: [UInt8]) -> Bool {
    if key == "#address-cells" || key == "#size-cells" {
      guard value.count == 4, let count = Self.number(value), count <= 4 else { return false }
      if key == "#size-cells" {
        nodes[nodes.count - 1].cells.size = Int(count)
      } else {
        nodes[nodes.count - 1].cells.address = Int(count)
      }
    } else if !nodes[nodes.count - 1].hasChildren {
      nodes[nodes.count - 1].properties[key] = value
    }
    return true
  }

  // A node is complete when its first child begins or it ends.
  private mutating func finishParent() {
    guard let node = nodes.last, !node.hasChildren else { return }
    nodes[nodes.count - 1].hasChildren = true
    let parent = nodes.count > 1 ? nodes[nodes.count - 2].cells : (2, 1)
    func strings(_ key: String) -> [[UInt8]] {
      var list = (node.properties[key] ?? []).split(separator: 0, omittingEmptySubsequences: false).map {
        [UInt8]($0)
      }
      if !list.isEmpty { list.removeLast() }
      return list
    }
    func has(_ key: String, _ text: String) -> Bool { strings(key).contains([UInt8](text.utf8)) }
    if nodes.count == 2, node.name == [UInt8]("chosen".utf8) {
      commandLine = node.properties["bootargs"] ?? []
      return
    }
    guard node.properties["status"] == nil || has("status", "okay") || has("status", "ok") else { return }
    let values = node.properties["reg"] ?? []
    let numbers = (0..<values.count / 4).map { UInt(Self.number([UInt8](values[$0 * 4..<$0 * 4 + 4]))!) }
    func number(_ words: ArraySlice<UInt>) -> UInt { words.suffix(2).reduce(0) { $0 << 32 | $1 } }
    var ranges: [BoardRange] = []
    let size = parent.0 + parent.1
    for index in 0..<(size > 0 ? numbers.count / size : 0) {
      let words = numbers[index * size..<(index + 1) * size]
      let near = node.properties["numa-node-id"].flatMap { $0.count < 4 ? nil : Self.number([UInt8]($0[..<4])) }
      ranges.append(
        BoardRange(
          start: number(words.prefix(parent.0)), byteCount: number(words.suffix(parent.1)),
          node: Int(near ?? 0),
          isUnmapped: node.properties["no-map"] != nil))
    }
    ranges.removeAll { $0.byteCount == 0 }
    if nodes.count > 2, nodes[1].name == [UInt8]("reserved-memory".utf8) {
      reservations += ranges
    } else if has("device_type", "memory") {
      memory += ranges
    } else if has("device_type", "cpu") {
      affinities.append(UInt64(number(numbers.prefix(parent.0))))
    }
  }

  // MARK: The list of reservations

  private mutating func readReservations(from start: Int) -> Bool {
    var offset = start
    while offset + 16 <= bytes.count {
      let first = Self.number([UInt8](bytes[offset..<offset + 8]))!
      let count = Self.number([UInt8](bytes[offset + 8..<offset + 16]))!
      if first == 0, count == 0 { return true }
      if count > 0 { reservations.append(BoardRange(start: first, byteCount: count)) }
      offset += 16
    }
    return false
  }
}
