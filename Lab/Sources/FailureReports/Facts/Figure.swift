// Numbers, and where they stand.

/// A number of a report, with the line of the file that it was read from.
package struct Figure: Equatable, Sendable {
  /// The number; its unit is its owner's.
  package var value: UInt64
  /// The line of the file, from 1.
  package var line: Int
}
