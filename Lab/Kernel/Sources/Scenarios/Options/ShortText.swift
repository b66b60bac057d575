// A few bytes of text inside a value: what errors quote from a command line without keeping a pointer into it.

import KernelStacks

/// Up to 40 bytes of text, all of them printable ASCII; what is longer ends in dots.
public struct ShortText: Sendable, TextDescribable {
  private var bytes = InlineArray<40, UInt8>(repeating: 0)
  private var count = 0

  /// No text.
  public init() {}

  /// A copy of the beginning of some bytes; those that are no printable ASCII become question marks.
  public init(_ text: UnsafeRawBufferPointer) {
    count = min(text.count, 40)
    for index in 0..<count {
      let byte = text[index]
      bytes[index] = (0x20..<0x7f).contains(byte) ? byte : UInt8(ascii: "?")
    }
    if text.count > 40 { for index in 37..<40 { bytes[index] = UInt8(ascii: ".") } }
  }

  /// Writes the text.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    for index in 0..<count { sink.write(byte: bytes[index]) }
  }
}

extension ShortText: Equatable {
  /// Whether the texts are the same.
  public static func == (a: Self, b: Self) -> Bool {
    guard a.count == b.count else { return false }
    for index in 0..<a.count where a.bytes[index] != b.bytes[index] { return false }
    return true
  }
}

/// The first case of an enumeration, numbered from 0 without gaps, for which `condition` holds.
///
/// `allCases` would be an array, which kernels have no heap for.
func firstCase<Case: RawRepresentable>(
  of type: Case.Type, where condition: (Case) -> Bool
) -> Case? where Case.RawValue == UInt8 {
  var number: UInt8 = 0
  while let found = Case(rawValue: number) {
    if condition(found) { return found }
    number += 1
  }
  return nil
}
