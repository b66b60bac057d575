// The serial port that a tree chooses for the console.
//
//     aliases { serial1 = "/soc/serial@7e215040"; };
//     chosen { stdout-path = "serial1:115200n8"; };      a path or an alias; what follows the colon is for the port
//
// Source: Devicetree Specification, release 0.4, 3.3 "/aliases", 3.6 "/chosen".

import ByteText

/// The name of the node that is the console.
struct StandardOutput {
  /// The node's name with its unit address; empty if the tree chooses none.
  private(set) var nodeName = DeviceTreeValue.empty

  /// Finds the name in two passes: the choice, then the alias that it may be.
  init(_ tree: FlattenedDeviceTree) throws(DeviceTreeError) {
    var path = try Self.property(tree, of: "chosen") { $0.equals("stdout-path") }.prefix(endingBefore: ":")
    if path.byteCount > 0, path.bytes[0] != UInt8(ascii: "/") {
      path = try Self.property(tree, of: "aliases") { $0.equals(path) }
        .prefix(endingBefore: ":")
    }
    nodeName = path.lastComponent
  }

  /// The value of a property of one of the root's nodes; empty if there is none.
  private static func property(
    _ tree: FlattenedDeviceTree, of node: StaticString, where isWanted: (DeviceTreeValue) -> Bool
  ) throws(DeviceTreeError) -> DeviceTreeValue {
    var cursor = DeviceTreeCursor(tree)
    var isInside = false
    while true {
      switch try cursor.next() {
      case .beginNode(let name): isInside = cursor.depth == 2 && name.equals(node)
      case .property(let name, let value): if isInside, isWanted(name) { return value }
      case .endNode: isInside = false
      case .end: return .empty
      }
    }
  }
}

extension DeviceTreeValue {
  /// The bytes before the first `end`, or before the zero that ends a string.
  fileprivate func prefix(endingBefore end: Unicode.Scalar) -> Self {
    var count = 0
    while count < byteCount, bytes[count] != 0, bytes[count] != UInt8(ascii: end) { count += 1 }
    return Self(bytes: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
  }

  /// What follows the last `/` of a path.
  fileprivate var lastComponent: Self {
    var start = byteCount
    while start > 0, bytes[start - 1] != UInt8(ascii: "/") { start -= 1 }
    return Self(bytes: UnsafeRawBufferPointer(rebasing: bytes[start...]))
  }
}
