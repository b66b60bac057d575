// The end of a stack that has no guard: a word at its lowest usable end that no thread has a reason to change.
//
//   top    +------------------+
//          | stack frames     |  grow downwards
//          |        |         |
//          |        v         |
//          |                  |
//          +------------------+  usable range's base: as far as stack frames may reach
//          | end marker       |  16 bytes; a stack frame that has gone too far and stored here has overwritten it
//          +------------------+
//          | thread_info      |  (at the top, if so configured)
//   base   +------------------+
//          | somebody else's  |  mapped: the linear map has no holes
//
// What it cannot tell: an overflow that has skipped the word, one that has stored the same value, and, since it is looked
// at now and then only, what has been overwritten below by the time that it is.

import KernelMachine

/// The word at the end of a stack in the linear map.
public struct StackEndMarker: Equatable, Sendable {
  /// What the marker takes at the end of the stack.
  public static var byteCount: Int { 16 }

  /// Where the marker's first word lies.
  public let address: VirtualAddress

  /// The marker of the stack whose usable range begins at `usableBase`.
  public init(below usableBase: VirtualAddress) { address = usableBase - Self.byteCount }

  /// The word at ``address``: told by the address, so that a stack copied over another is seen.
  public var firstWord: UInt64 { 0x57ac_6e9d_e4d0_f57a ^ UInt64(address.rawValue) }
  /// The word above it, the first that an overflow reaches.
  public var secondWord: UInt64 { ~firstWord }

  /// Writes the marker; `words` is where ``address`` can be accessed.
  public func place(at words: UnsafeMutableRawPointer) {
    let words = words.assumingMemoryBound(to: UInt64.self)
    words[0] = firstWord
    words[1] = secondWord
  }

  /// Whether both words are as they were written; `words` is where ``address`` can be accessed.
  public func isIntact(at words: UnsafeRawPointer) -> Bool {
    words.load(as: UInt64.self) == firstWord && words.load(fromByteOffset: 8, as: UInt64.self) == secondWord
  }
}
