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

  /// Fills the words of `bounds` on the machine that runs this, in its own address space, and verifies them.
  ///
  /// `bounds` ends below this function's own frame, so it must have none to speak of, nor call anything.
  ///
  /// - Parameters:
  ///   - lower: the lowest address, a multiple of 8.
  ///   - upper: the first address that is not part of it, a multiple of 8.
  public func holds(from lower: UInt, to upper: UInt) -> Bool {
    var address = lower
    while address < upper {
      UnsafeMutablePointer<UInt64>(bitPattern: address)!.pointee = word(at: address)
      address &+= 8
    }
    address = lower
    while address < upper {
      if UnsafeMutablePointer<UInt64>(bitPattern: address)!.pointee != word(at: address) { return false }
      address &+= 8
    }
    return true
  }
}
