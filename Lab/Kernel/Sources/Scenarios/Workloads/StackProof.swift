// The proof that a kernel stack is usable throughout: fill all of it, then verify all of it.

import KernelStacks

/// What each word of a proven stack holds: told by its address and its owner, so that no two words or owners agree.
public struct StackProof: Sendable {
  /// Whose stack.
  public var processID: Int

  /// A proof for one process.
  public init(processID: Int) { self.processID = processID }

  /// The word at an address.
  @inline(__always)
  public func word(at address: UInt) -> UInt64 {
    (UInt64(address) &+ UInt64(processID) &<< 48) &* 0x9e37_79b9_7f4a_7c15
  }
}
