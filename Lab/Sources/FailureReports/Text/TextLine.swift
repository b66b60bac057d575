// A line while it is decoded.

/// The bytes of a line, and which lines of the file they come from.
package struct TextLine: Equatable, Sendable {
  /// Where the bytes of a further line of the file begin.
  package struct Origin: Equatable, Sendable {
    /// The offset of the first byte that comes from that line.
    package var offset: Int
    /// The number of that line, from 1.
    package var number: Int
  }

  /// The bytes, without the end of the line.
  package var bytes: [UInt8]
  /// The number of the file's line that the first byte comes from, from 1.
  package var number: Int
  /// The places where further lines of the file were joined, in order.
  package var joints: [Origin] = []

  /// A line of the file.
  package init(_ bytes: [UInt8], number: Int) {
    self.bytes = bytes
    self.number = number
  }

  /// The number of the file's line that the byte at `offset` comes from.
  package func number(at offset: Int) -> Int {
    joints.last { $0.offset <= offset }?.number ?? number
  }

  /// Whether another line of the file begins at one of these offsets.
  func hasJoint(in offsets: ClosedRange<Int>) -> Bool { joints.contains { offsets.contains($0.offset) } }

  /// Adds another line at the end.
  mutating func join(_ other: TextLine) {
    joints.append(Origin(offset: bytes.count, number: other.number))
    for joint in other.joints {
      joints.append(Origin(offset: joint.offset + bytes.count, number: joint.number))
    }
    bytes += other.bytes
  }

  /// The part of the line in `range`.
  func part(_ range: Range<Int>) -> TextLine {
    if range == 0..<bytes.count { return self }
    var result = TextLine(Array(bytes[range]), number: number(at: range.lowerBound))
    for joint in joints where joint.offset > range.lowerBound && joint.offset < range.upperBound {
      result.joints.append(Origin(offset: joint.offset - range.lowerBound, number: joint.number))
    }
    return result
  }
}
