// The order and purpose of a block in use, for checks before it is freed.

import KernelMachine

/// The order and purpose that a block was handed out with.
public struct UsedBlock: Equatable, Sendable {
  /// log2 of the number of its frames.
  public let order: Int
  /// The purpose that it was handed out for.
  public let purpose: FramePurpose

  /// A block of this order and purpose.
  public init(order: Int, purpose: FramePurpose) {
    self.order = order
    self.purpose = purpose
  }
}

extension BuddyAllocator {
  /// The block in use that begins with a frame; `nil` if none does.
  ///
  /// A snapshot without a lock: another CPU may free the block at the next moment.
  ///
  /// - Complexity: O(ranges of RAM).
  public borrowing func usedBlock(at frame: PageFrame) -> UsedBlock? {
    guard let range = range(of: frame) else { return nil }
    let tag = (records + Int(bitPattern: frame.number &- range.pointee.bias)).tag
    guard tag.state == FrameState.used, let purpose = FramePurpose(rawValue: tag.purpose) else { return nil }
    return UsedBlock(order: tag.order, purpose: purpose)
  }
}
