// A word of each frame's record that the frame's owner may use. It saves a table over all memory and the holes in it.
//
// The record's `previous` is a link of free lists only. The allocator does not read it while the frame is handed out, and
// sets it when the frame enters such a list again.

import KernelMachine

extension BuddyAllocator {
  /// A word that belongs to the frame's owner from allocation to free; its first value is undefined.
  ///
  /// The owner orders the accesses to it.
  ///
  /// - Parameter frame: a frame that was handed out, singly or in a block.
  /// - Returns: `nil` if the allocator does not manage the frame.
  /// - Complexity: O(ranges of RAM).
  public borrowing func ownerWord(of frame: PageFrame) -> UnsafeMutablePointer<UInt32>? {
    guard let range = range(of: frame) else { return nil }
    let record = records + Int(bitPattern: frame.number &- range.pointee.bias)
    // Why the cast is sound: `previous` is the second of three 32-bit fields without padding, and only the owner uses it.
    return (UnsafeMutableRawPointer(record) + 4).assumingMemoryBound(to: UInt32.self)
  }

  /// Calls `body` with the first frame and the number of frames of each range of RAM, in ascending order.
  public borrowing func forEachRange(_ body: (PageFrame, Int) -> Void) {
    var range = ranges
    while range < rangesEnd {
      body(PageFrame(range.pointee.firstFrame), Int(bitPattern: range.pointee.frameCount))
      range += 1
    }
  }
}
