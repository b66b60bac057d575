// A word of each frame's record that its owner may use: what would otherwise take a table of its own, over all memory and the
// holes in it.
//
// The record's `previous` is a link of free lists only. Nothing reads it while the frame is handed out, and a frame that comes
// back gets it anew when it enters such a list.

import KernelMachine

extension BuddyAllocator {
  /// A word that belongs to whoever has the frame, from its allocation until it is given back; its first value is any.
  ///
  /// Accesses are the owner's to order.
  ///
  /// - Parameter frame: one that was handed out, singly or in a block.
  /// - Returns: `nil` if the allocator does not manage the frame.
  /// - Complexity: O(ranges of RAM).
  public borrowing func ownerWord(of frame: PageFrame) -> UnsafeMutablePointer<UInt32>? {
    guard let range = range(of: frame) else { return nil }
    let record = records + Int(bitPattern: frame.number &- range.pointee.bias)
    // Why the cast is sound: `previous` is the second of three 32-bit fields without padding, and nobody else accesses it.
    return (UnsafeMutableRawPointer(record) + 4).assumingMemoryBound(to: UInt32.self)
  }

  /// Calls `body` with each range of RAM, its first frame and how many there are, in ascending order.
  public borrowing func forEachRange(_ body: (PageFrame, Int) -> Void) {
    var range = ranges
    while range < rangesEnd {
      body(PageFrame(range.pointee.firstFrame), Int(bitPattern: range.pointee.frameCount))
      range += 1
    }
  }
}
