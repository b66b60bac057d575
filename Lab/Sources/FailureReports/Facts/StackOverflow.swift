// A kernel stack that was too small.

/// An overflow of a kernel stack, as the kernel reports it.
package struct StackOverflow: Equatable, Sendable {
  /// The line of the file.
  package var line: Int
  /// The address that could not be written.
  package var faultAddress: UInt64?
  /// The bounds of the stack.
  package var stack: Range<UInt64>?
  /// The thread on it.
  package var process: String?

  /// How many bytes below the stack the fault was, if it was below.
  package var bytesBelow: UInt64? {
    guard let faultAddress, let stack, faultAddress < stack.lowerBound else { return nil }
    return stack.lowerBound - faultAddress
  }
}
