// The requirements of processes on their frame source, beyond allocation and freeing.

import KernelStacks

/// A source of page frames for processes.
public protocol ProcessFrameSource: FrameSource, ~Copyable {
  /// The number of free frames on all nodes.
  var freeFrames: Int { borrowing get }

  /// A word for the owner of a frame, from the frame's allocation until it is freed; its first value is undefined.
  ///
  /// Processes use it as the number of address spaces that map the frame.
  ///
  /// - Returns: `nil` if the frame is not one of the source's.
  borrowing func ownerWord(of frame: PageFrame) -> UnsafeMutablePointer<UInt32>?

  /// Merges the free frames of lists and pools into blocks.
  ///
  /// They count as free before and after.
  ///
  /// - Returns: the number of frames merged.
  @discardableResult borrowing func drain() -> Int
}

extension BuddyAllocator: ProcessFrameSource {}

/// Frees a frame that `frames` handed out; stops the program if it is refused, since then records are damaged.
public func returnFrame<Frames: FrameSource & ~Copyable>(
  _ frame: PageFrame, order: Int = 0, to frames: borrowing Frames
) {
  do {
    try frames.free(frame, order: order)
  } catch {
    fatalError("a frame that was handed out is not taken back")
  }
}
