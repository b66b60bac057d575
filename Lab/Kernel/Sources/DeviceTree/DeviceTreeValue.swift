// The value of a property, read as cells, numbers or strings.

import ByteText

/// Bytes of a device tree: a name, or the value of a property.
public struct DeviceTreeValue {
  /// The bytes, in place in the tree.
  public let bytes: UnsafeRawBufferPointer

  /// Makes a value of bytes.
  public init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// The empty value.
  static var empty: Self { Self(bytes: UnsafeRawBufferPointer(start: nil, count: 0)) }

  /// The length in bytes.
  public var byteCount: Int { bytes.count }

  /// The number of whole 32-bit cells.
  public var cellCount: Int { bytes.count / 4 }

  /// The cell with this index, from 0.
  ///
  /// - Precondition: `index` is below ``cellCount``.
  public func cell(_ index: Int) -> UInt32 {
    precondition(index >= 0 && index < cellCount, "no such cell")
    return FlattenedDeviceTree.word(bytes, index * 4)
  }

  /// The number in `count` cells from the cell `index`; of more than two cells, the last two count.
  ///
  /// - Precondition: the value has as many cells.
  public func number(at index: Int, cells count: Int) -> UInt {
    var value: UInt = 0
    for offset in 0..<count { value = value << 32 | UInt(cell(index + offset)) }
    return value
  }

  /// The value as a number of one or two cells; 0 if it has none.
  public var number: UInt { number(at: 0, cells: min(cellCount, 2)) }

  /// Whether the bytes are exactly `text`.
  public func equals(_ text: StaticString) -> Bool { bytes.equals(text) }

  /// Whether the bytes are exactly those of another value.
  func equals(_ other: Self) -> Bool {
    guard byteCount == other.byteCount else { return false }
    for index in 0..<byteCount where bytes[index] != other.bytes[index] { return false }
    return true
  }

  /// Whether one of the value's zero-terminated strings is `text`.
  public func contains(_ text: StaticString) -> Bool {
    var start = 0
    for end in 0..<byteCount where bytes[end] == 0 {
      if UnsafeRawBufferPointer(rebasing: bytes[start..<end]).equals(text) { return true }
      start = end + 1
    }
    return false
  }
}
