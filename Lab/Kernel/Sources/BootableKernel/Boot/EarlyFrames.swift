// Frames before there is a frame allocator: one after the other from a run that was set aside.
#if hasFeature(Embedded)
  import AArch64Machine
  import KernelStacks

  nonisolated(unsafe) private var nextFrame = PageFrame(0)
  nonisolated(unsafe) private var endFrame = PageFrame(0)

  /// Hands out frames for the kernel's own tables, in order.
  ///
  /// They are never given back.
  struct EarlyFrames: ~Copyable, FrameSource {
    /// Hands out the frames from `first` up to but not including `end`.
    init(first: PageFrame, end: PageFrame) {
      nextFrame = first
      endFrame = end
    }

    /// The first frame that has not been handed out.
    var firstUnused: PageFrame { nextFrame }

    var nodeCount: Int { 1 }
    var totalFrames: Int { endFrame - nextFrame }
    func node(of frame: PageFrame) -> NodeID { NodeID(0) }

    func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
      guard request.order == 0, nextFrame < endFrame else {
        throw .refused(
          FrameRefusal(
            order: request.order, purpose: request.purpose, freeFrames: endFrame - nextFrame,
            largestFreeOrder: nextFrame < endFrame ? 0 : -1))
      }
      let frame = nextFrame
      nextFrame = frame + 1
      let machine = AArch64()
      if request.cleared { machine.clear(machine.linearAddress(of: frame), byteCount: pageSize) }
      return frame
    }

    func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) { throw .foreignFrame(frame) }
  }
#endif
