// A flattened device tree, read in place. It is not trusted: every access is checked against the tree's bounds, and sums of its
// numbers cannot overflow (they are of 32-bit numbers).
//
//   +-----------------+ 0      header: magic, total size, offsets; all words are big-endian
//   | header          |
//   +-----------------+
//   | reservations    |        pairs of address and size, ended by a pair of zeroes
//   +-----------------+
//   | structure block |        tokens: 1 begin node, 2 end node, 3 property, 4 nothing, 9 end
//   +-----------------+
//   | strings block   |        names of properties
//   +-----------------+
//
// Source: Devicetree Specification, release 0.4, chapter 5.

/// A flattened device tree in memory.
public struct FlattenedDeviceTree {
  /// The bytes of the tree, as many as its header gives.
  let bytes: UnsafeRawBufferPointer
  let structureOffset: Int
  let stringsOffset: Int
  let reservationsOffset: Int

  /// The length of a header in bytes.
  public static var headerByteCount: Int { 40 }
  /// The longest tree, in bytes: 2 MiB.
  ///
  /// Source: Linux, Documentation/arm64/booting.rst, "Setup the device tree".
  public static var maximumByteCount: Int { 2 << 20 }
  /// The longest name of a node or a property, in bytes.
  ///
  /// Without a limit, each property of a long tree could refer to the same long text, and reading it would take time without
  /// bound. The specification allows 31, and for a node as many again for its unit address.
  public static var longestName: Int { 255 }
  /// The deepest nesting of nodes.
  public static var maximumDepth: Int { 64 }

  /// Returns the length of a tree in bytes, from its header alone.
  ///
  /// - Parameter header: the first ``headerByteCount`` bytes of the tree.
  /// - Throws: ``DeviceTreeError`` if there is no tree of a supported version, or its length is out of range.
  public static func byteCount(header: UnsafeRawBufferPointer) throws(DeviceTreeError) -> Int {
    guard header.count >= headerByteCount, word(header, 0) == 0xd00d_feed else { throw .missing }
    // Version 17 trees say that they can be read as version 16.
    guard word(header, 24) <= 17, word(header, 20) >= 16 else { throw .unsupportedVersion(word(header, 20)) }
    let size = word(header, 4)
    guard Int(size) >= headerByteCount, Int(size) <= maximumByteCount else { throw .wrongSize(size) }
    return Int(size)
  }

  /// Makes a tree of the bytes that `memory` begins with.
  ///
  /// - Parameter memory: readable memory, at least as long as the header gives.
  /// - Throws: ``DeviceTreeError`` if there is no tree of a supported version, or a block lies outside it.
  public init(in memory: UnsafeRawBufferPointer) throws(DeviceTreeError) {
    let count = try Self.byteCount(header: memory)
    guard count <= memory.count else { throw .wrongSize(UInt32(count)) }
    bytes = UnsafeRawBufferPointer(rebasing: memory[..<count])
    structureOffset = Int(Self.word(bytes, 8))
    stringsOffset = Int(Self.word(bytes, 12))
    reservationsOffset = Int(Self.word(bytes, 16))
    for field in 2...4 {
      let offset = Self.word(bytes, field * 4)
      guard Int(offset) >= Self.headerByteCount, Int(offset) <= count else {
        throw .blockOutside(offset: offset)
      }
    }
  }

  /// The big-endian word at a byte offset, which lies inside `bytes`.
  static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
    bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self).bigEndian
  }

  private func long(_ offset: Int) -> UInt {
    UInt(bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian)
  }

  /// The reservation with this index, from 0, or `nil` after the last.
  ///
  /// - Throws: ``DeviceTreeError/damaged(offset:)`` if the tree ends before the list does.
  func reservation(_ index: Int) throws(DeviceTreeError) -> (start: UInt, byteCount: UInt)? {
    let offset = reservationsOffset + index * 16
    guard offset + 16 <= bytes.count else { throw .damaged(offset: offset) }
    let (start, size) = (long(offset), long(offset + 8))
    return start == 0 && size == 0 ? nil : (start, size)
  }

  /// The bytes of the zero-terminated name at a byte offset, without the zero.
  func name(at offset: Int) throws(DeviceTreeError) -> DeviceTreeValue {
    var end = offset
    while end < bytes.count, bytes[end] != 0, end - offset <= Self.longestName { end += 1 }
    guard end < bytes.count, end - offset <= Self.longestName else { throw .damaged(offset: offset) }
    return DeviceTreeValue(bytes: UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
  }
}

/// A token of the structure block.
enum DeviceTreeToken {
  case beginNode(name: DeviceTreeValue)
  case endNode
  case property(name: DeviceTreeValue, value: DeviceTreeValue)
  case end
}

/// A position in the structure block.
struct DeviceTreeCursor {
  private let tree: FlattenedDeviceTree
  private var offset: Int
  /// The number of open nodes.
  private(set) var depth = 0

  /// Makes a cursor at the beginning of a tree.
  init(_ tree: FlattenedDeviceTree) {
    self.tree = tree
    offset = tree.structureOffset
  }

  /// Returns the next token; afterwards ``depth`` is that of the node it belongs to.
  ///
  /// ``DeviceTreeToken/end`` comes once, after the end of the root.
  mutating func next() throws(DeviceTreeError) -> DeviceTreeToken {
    while true {
      let start = offset
      switch try word() {
      case 1:
        let name = try tree.name(at: offset)
        offset = (offset + name.byteCount + 4) & ~3
        guard depth < FlattenedDeviceTree.maximumDepth else { throw .tooDeep(offset: start) }
        depth += 1
        return .beginNode(name: name)
      case 2:
        guard depth > 0 else { throw .unbalanced(offset: start) }
        depth -= 1
        return .endNode
      case 3:
        guard depth > 0 else { throw .unbalanced(offset: start) }
        let size = Int(try word())
        let name = tree.stringsOffset + Int(try word())
        guard size <= tree.bytes.count - offset, name < tree.bytes.count else { throw .damaged(offset: start) }
        let value = UnsafeRawBufferPointer(rebasing: tree.bytes[offset..<offset + size])
        offset = (offset + size + 3) & ~3
        return .property(name: try tree.name(at: name), value: DeviceTreeValue(bytes: value))
      case 4:
        continue
      case 9:
        guard depth == 0 else { throw .unbalanced(offset: start) }
        return .end
      default:
        throw .damaged(offset: start)
      }
    }
  }

  private mutating func word() throws(DeviceTreeError) -> UInt32 {
    guard offset + 4 <= tree.bytes.count else { throw .damaged(offset: offset) }
    defer { offset += 4 }
    return FlattenedDeviceTree.word(tree.bytes, offset)
  }
}
