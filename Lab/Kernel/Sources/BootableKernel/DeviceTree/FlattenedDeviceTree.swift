// Reading a flattened device tree in place: its header, and its nodes and properties one after the other.
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
#if hasFeature(Embedded)
  import KernelStacks

  /// A flattened device tree in memory.
  struct FlattenedDeviceTree {
    let base: UnsafeRawPointer
    let byteCount: Int
    let structureOffset: Int
    let stringsOffset: Int
    let reservationsOffset: Int

    /// The tree at `base`, or `nil` if there is none of a version that is understood.
    init?(at base: UnsafeRawPointer) {
      guard Self.word(base, 0) == 0xd00d_feed else { return nil }
      // Version 17 trees say that they can be read as version 16.
      guard Self.word(base, 24) <= 17, Self.word(base, 20) >= 16 else { return nil }
      self.base = base
      byteCount = Int(Self.word(base, 4))
      structureOffset = Int(Self.word(base, 8))
      stringsOffset = Int(Self.word(base, 12))
      reservationsOffset = Int(Self.word(base, 16))
      guard structureOffset < byteCount, stringsOffset < byteCount, reservationsOffset < byteCount else {
        return nil
      }
    }

    /// The big-endian word at a byte offset.
    static func word(_ base: UnsafeRawPointer, _ offset: Int) -> UInt32 {
      base.loadUnaligned(fromByteOffset: offset, as: UInt32.self).bigEndian
    }

    /// The reservation with a number, or `nil` after the last.
    func reservation(_ index: Int) -> (start: UInt, byteCount: UInt)? {
      let offset = reservationsOffset + index * 16
      guard offset + 16 <= byteCount else { return nil }
      let start = base.loadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian
      let size = base.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self).bigEndian
      return start == 0 && size == 0 ? nil : (UInt(start), UInt(size))
    }
  }

  /// The value of a property.
  struct DeviceTreeValue {
    let base: UnsafeRawPointer
    let byteCount: Int

    /// No value.
    static func empty(in tree: FlattenedDeviceTree) -> Self { Self(base: tree.base, byteCount: 0) }

    /// How many 32-bit cells there are.
    var cellCount: Int { byteCount / 4 }

    /// A cell.
    func cell(_ index: Int) -> UInt32 { FlattenedDeviceTree.word(base, index * 4) }

    /// A number of `count` cells (1 or 2) from the cell `index`.
    func number(at index: Int, cells count: Int) -> UInt {
      var value: UInt = 0
      for offset in 0..<count { value = value << 32 | UInt(cell(index + offset)) }
      return value
    }

    /// The whole value as a number of one or two cells.
    var number: UInt { number(at: 0, cells: min(cellCount, 2)) }

    /// Whether one of the strings in the value, each ended by a zero byte, is `text`.
    func contains(_ text: StaticString) -> Bool {
      var start = 0
      for end in 0..<byteCount where base.load(fromByteOffset: end, as: UInt8.self) == 0 {
        if end - start == text.utf8CodeUnitCount, bytesEqual(base + start, text) { return true }
        start = end + 1
      }
      return false
    }
  }

  /// A step through the structure block.
  enum DeviceTreeToken {
    case beginNode(name: UnsafeRawPointer)
    case endNode
    case property(name: UnsafeRawPointer, value: DeviceTreeValue)
    case end
  }

  /// A place in the structure block.
  struct DeviceTreeCursor {
    let tree: FlattenedDeviceTree
    var offset: Int

    /// The beginning of a tree.
    init(_ tree: FlattenedDeviceTree) {
      self.tree = tree
      offset = tree.structureOffset
    }

    /// The next token; ``DeviceTreeToken/end`` also where the tree is malformed.
    mutating func next() -> DeviceTreeToken {
      while offset + 4 <= tree.byteCount {
        let token = FlattenedDeviceTree.word(tree.base, offset)
        offset += 4
        switch token {
        case 1:
          let name = tree.base + offset
          while offset < tree.byteCount, tree.base.load(fromByteOffset: offset, as: UInt8.self) != 0 {
            offset += 1
          }
          offset = (offset + 4) & ~3
          return .beginNode(name: name)
        case 2:
          return .endNode
        case 3:
          guard offset + 8 <= tree.byteCount else { return .end }
          let size = Int(FlattenedDeviceTree.word(tree.base, offset))
          let name = tree.stringsOffset + Int(FlattenedDeviceTree.word(tree.base, offset + 4))
          let value = DeviceTreeValue(base: tree.base + offset + 8, byteCount: size)
          offset = (offset + 8 + size + 3) & ~3
          guard offset <= tree.byteCount, name < tree.byteCount else { return .end }
          return .property(name: tree.base + name, value: value)
        case 4:
          continue
        default:
          return .end
        }
      }
      return .end
    }
  }

  /// Whether the bytes at `bytes` begin with `text`.
  func bytesEqual(_ bytes: UnsafeRawPointer, _ text: StaticString) -> Bool {
    for index in 0..<text.utf8CodeUnitCount
    where bytes.load(fromByteOffset: index, as: UInt8.self) != text.utf8Start[index] { return false }
    return true
  }

  /// Whether the zero-terminated name at `name` is `text`.
  func nameEquals(_ name: UnsafeRawPointer, _ text: StaticString) -> Bool {
    bytesEqual(name, text) && name.load(fromByteOffset: text.utf8CodeUnitCount, as: UInt8.self) == 0
  }
#endif
