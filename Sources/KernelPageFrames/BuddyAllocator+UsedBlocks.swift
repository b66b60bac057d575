// What a block was handed out as, for callers that are to be checked before they give it back.

import KernelMachine

/// The order and purpose that a block was handed out with.
public struct UsedBlock: Equatable, Sendable {
  /// log2 of the number of its frames.
  public let order: Int
  /// What it was handed out for.
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
  /// It may be given back by somebody else at the next moment.
  ///
  /// - Complexity: O(ranges of RAM).
  public borrowing func usedBlock(at frame: PageFrame) -> UsedBlock? {
    guard let range = range(of: frame) else { return nil }
    let tag = (records + Int(bitPattern: frame.number &- range.pointee.bias)).tag
    guard tag.state == FrameState.used, let purpose = FramePurpose(rawValue: tag.purpose) else { return nil }
    return UsedBlock(order: tag.order, purpose: purpose)
  }
}
