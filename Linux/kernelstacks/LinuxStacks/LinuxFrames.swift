// Page frames from Linux's page allocator.

import KernelMachine
import LinuxServices

/// Linux's page allocator as a frame source.
struct LinuxFrames: FrameSource {
  func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    try allocate(request, wait: true)
  }

  func allocateWithoutWaiting(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    try allocate(request, wait: false)
  }

  private func allocate(_ request: FrameRequest, wait: Bool) throws(FrameSourceError) -> PageFrame {
    let node = request.node.map { Int32(truncatingIfNeeded: $0.index) } ?? -1
    let frame = swift_stacks_alloc_pages(UInt32(truncatingIfNeeded: request.order), node, request.cleared, wait)
    guard frame != 0 else {
      throw .refused(
        FrameRefusal(
          order: request.order, purpose: request.purpose, freeFrames: swift_stacks_free_page_count(),
          largestFreeOrder: -1))
    }
    return PageFrame(frame)
  }

  /// Takes a frame that the page allocator has at hand; several are for ``allocate(_:count:_:)``, which may wait for memory.
  func allocateTogether(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) -> FrameContents? {
    guard count == 1 else { return nil }
    let frame = swift_stacks_alloc_pages(0, -1, false, false)
    guard frame != 0 else { return nil }
    body(PageFrame(frame))
    return .unknown
  }

  func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    swift_stacks_free_pages(frame.number, UInt32(truncatingIfNeeded: order))
  }

  func node(of frame: PageFrame) -> NodeID {
    NodeID(Int(truncatingIfNeeded: swift_stacks_page_to_nid(frame.number)))
  }

  var nodeCount: Int { Int(truncatingIfNeeded: swift_stacks_node_count()) }
  var totalFrames: Int { swift_stacks_total_pages() }
}
