// A writer of flattened device trees, for boards that QEMU would not describe.

/// A node of a device tree.
public struct DeviceTreeNode: Sendable {
  /// Its name.
  public var name: String
  /// Its properties, in order.
  public var properties: [(name: String, value: [UInt8])] = []
  /// The nodes in it.
  public var children: [DeviceTreeNode] = []

  /// Makes a node.
  public init(_ name: String, _ properties: [(String, [UInt8])] = [], _ children: [DeviceTreeNode] = []) {
    self.name = name
    self.properties = properties.map { (name: $0.0, value: $0.1) }
    self.children = children
  }
}

/// A property's value of 32-bit cells.
public func cells(_ values: UInt32...) -> [UInt8] { cells(values) }

/// A property's value of 32-bit cells.
public func cells(_ values: [UInt32]) -> [UInt8] { values.flatMap(bigEndian) }

/// A property's value that is a string.
public func text(_ value: String) -> [UInt8] { Array(value.utf8) + [0] }

private func bigEndian(_ value: UInt32) -> [UInt8] {
  [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
}

/// The bytes of a device tree with this root.
///
/// Source: Devicetree Specification, release 0.4, chapter 5.
public func flattenedDeviceTree(_ root: DeviceTreeNode, reservations: [(UInt64, UInt64)] = []) -> [UInt8] {
  var strings: [UInt8] = []
  var structure: [UInt8] = []
  func pad() { while structure.count % 4 != 0 { structure.append(0) } }
  func write(_ node: DeviceTreeNode) {
    structure += bigEndian(1) + text(node.name)
    pad()
    for property in node.properties {
      structure += bigEndian(3) + bigEndian(UInt32(property.value.count)) + bigEndian(UInt32(strings.count))
      structure += property.value
      pad()
      strings += text(property.name)
    }
    node.children.forEach(write)
    structure += bigEndian(2)
  }
  write(root)
  structure += bigEndian(9)
  var reserved: [UInt8] = []
  for (start, count) in reservations + [(0, 0)] {
    for value in [start, count] {
      reserved += bigEndian(UInt32(value >> 32)) + bigEndian(UInt32(value & 0xffff_ffff))
    }
  }
  let structureOffset = 40 + reserved.count
  let stringsOffset = structureOffset + structure.count
  let header: [UInt32] = [
    0xd00d_feed, UInt32(stringsOffset + strings.count), UInt32(structureOffset), UInt32(stringsOffset), 40,
    17, 16, 0,
    UInt32(strings.count), UInt32(structure.count),
  ]
  return header.flatMap(bigEndian) + reserved + structure + strings
}
