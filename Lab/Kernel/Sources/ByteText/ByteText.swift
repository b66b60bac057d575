// Text as bytes in memory that a boot loader supplies: compared in place with constants, without a heap.

extension UnsafeRawBufferPointer {
  /// Whether the bytes are exactly those of a text.
  public func equals(_ text: StaticString) -> Bool {
    guard count == text.utf8CodeUnitCount else { return false }
    for index in 0..<count where self[index] != text.utf8Start[index] { return false }
    return true
  }

  /// Whether the bytes are exactly those of a text: the cases of a `switch` over bytes are strings.
  public static func ~= (text: StaticString, bytes: Self) -> Bool { bytes.equals(text) }
}
