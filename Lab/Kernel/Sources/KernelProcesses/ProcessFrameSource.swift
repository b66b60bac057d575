// What processes need of their page frames besides taking and giving them back.

import KernelStacks

/// A source of page frames for processes.
public protocol ProcessFrameSource: FrameSource, ~Copyable {
  /// Free frames on all nodes.
  var freeFrames: Int { borrowing get }

  /// A word that belongs to the owner of a frame, from its allocation until it is given back; its first value is any.
  ///
  /// Processes count in it how many address spaces map a frame.
  ///
  /// - Returns: `nil` if the frame is not one of the source's.
  borrowing func ownerWord(of frame: PageFrame) -> UnsafeMutablePointer<UInt32>?

  /// Merges the free frames that are kept for speed.
  ///
  /// They count as free before and after.
  ///
  /// - Returns: how many there were.
  @discardableResult borrowing func drain() -> Int
}

extension BuddyAllocator: ProcessFrameSource {}

/// Gives a frame back that was handed out by the same source: a refusal means that records are damaged.
public func returnFrame<Frames: FrameSource & ~Copyable>(
  _ frame: PageFrame, order: Int = 0, to frames: borrowing Frames
) {
  do {
    try frames.free(frame, order: order)
  } catch {
    fatalError("a frame that was handed out is not taken back")
  }
}
