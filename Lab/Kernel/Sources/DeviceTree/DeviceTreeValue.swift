// The value of a property, read as what it may be: cells, numbers, strings.

/// Bytes of a device tree: a name, or the value of a property.
public struct DeviceTreeValue {
  /// The bytes, in the tree.
  public let bytes: UnsafeRawBufferPointer

  /// Some bytes.
  public init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// No bytes.
  static var empty: Self { Self(bytes: UnsafeRawBufferPointer(start: nil, count: 0)) }

  /// How many bytes there are.
  public var byteCount: Int { bytes.count }

  /// How many 32-bit cells there are.
  public var cellCount: Int { bytes.count / 4 }

  /// A cell, counted from 0.
  ///
  /// - Precondition: it is one of ``cellCount``.
  public func cell(_ index: Int) -> UInt32 {
    precondition(index >= 0 && index < cellCount, "no such cell")
    return FlattenedDeviceTree.word(bytes, index * 4)
  }

  /// A number of `count` cells from the cell `index`; of more than two cells, the last two.
  ///
  /// - Precondition: there are as many cells.
  public func number(at index: Int, cells count: Int) -> UInt {
    var value: UInt = 0
    for offset in 0..<count { value = value << 32 | UInt(cell(index + offset)) }
    return value
  }

  /// The whole value as a number of one or two cells; 0 where it has none.
  public var number: UInt { number(at: 0, cells: min(cellCount, 2)) }

  /// Whether the bytes are exactly `text`.
  public func equals(_ text: StaticString) -> Bool { holds(text, from: 0, to: byteCount) }

  /// Whether one of the strings in the value, each ended by a zero byte, is `text`.
  public func contains(_ text: StaticString) -> Bool {
    var start = 0
    for end in 0..<byteCount where bytes[end] == 0 {
      if holds(text, from: start, to: end) { return true }
      start = end + 1
    }
    return false
  }

  private func holds(_ text: StaticString, from start: Int, to end: Int) -> Bool {
    guard end - start == text.utf8CodeUnitCount else { return false }
    for index in start..<end where bytes[index] != text.utf8Start[index - start] { return false }
    return true
  }
}
