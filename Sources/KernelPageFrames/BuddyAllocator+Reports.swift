// Reports: the listing of free blocks, and the owner of each frame.

import KernelMachine

/// The owner of a page frame.
public enum FrameOwner: Equatable, Sendable {
  /// There is no RAM at that address.
  case unmanaged
  /// RAM that is never handed out.
  case reserved
  /// Part of a free block, in the list of a CPU, or in a pool of zeroed frames.
  case free
  /// Part of a block that was handed out for this purpose.
  case used(FramePurpose)
}

extension BuddyAllocator {
  /// The name of the lock at an address, for reports of waits; `nil` if it is no lock of this allocator.
  public borrowing func lockName(at address: UInt) -> StaticString? {
    for node in 0..<nodeCount where UInt(bitPattern: nodes + node) == address { return "freeFrames" }
    return nil
  }

  /// The owner of a frame; takes the lock of its node.
  ///
  /// - Complexity: O(ranges of RAM), and at most 10 steps to the first frame of its block.
  public borrowing func owner(of frame: PageFrame) -> FrameOwner {
    guard let range = range(of: frame) else { return .unmanaged }
    let lists = FreeLists(records: records, node: nodes + range.pointee.node)
    let state = machine.lock(lists.lock)
    let tag = lists.block(at: UInt32(truncatingIfNeeded: frame.number &- range.pointee.bias)).tag
    machine.unlock(lists.lock, restoring: state)
    switch tag.state {
    case FrameState.free, FrameState.listed: return .free
    case FrameState.used:
      guard let purpose = FramePurpose(rawValue: tag.purpose) else { return .reserved }
      return .used(purpose)
    default: return .reserved
    }
  }

  /// Writes one line per node, in the format of Linux's `/proc/buddyinfo`: the number of free blocks of each order.
  ///
  /// Frames in lists of CPUs and in pools of zeroed frames are among those of order 0, where Linux leaves them out.
  ///
  ///     Node 0, zone   Normal      1      0      0      1      1      1      1      0      1      1     31
  public borrowing func writeBuddyInfo<Sink: TextSink>(to sink: inout Sink) {
    for node in 0..<nodeCount {
      sink.write("Node ")
      sink.write(node)
      sink.write(", zone   Normal ")
      for order in 0...Self.maximumOrder {
        let count = freeBlocks(ofOrder: order, on: NodeID(node))
        var bound = 100_000
        while bound > max(count, 1) {
          sink.write(byte: UInt8(ascii: " "))
          bound /= 10
        }
        sink.write(count)
        sink.write(byte: UInt8(ascii: " "))
      }
      sink.write(byte: UInt8(ascii: "\n"))
    }
  }
}
