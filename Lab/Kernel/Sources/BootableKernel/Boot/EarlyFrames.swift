// The frame source of early boot: hands out the frames of a reserved run in order, before there is a frame allocator.
import AArch64Machine
import KernelAssembly
import KernelStacks

/// A run of contiguous frames, of which those before `next` are handed out.
struct FrameRun {
  var first = PageFrame(0)
  var next = PageFrame(0)
  var end = PageFrame(0)
}

nonisolated(unsafe) private var earlyTables = FrameRun()
nonisolated(unsafe) private var finalTables = FrameRun()

/// A frame source for the kernel's own tables, used on the boot CPU alone.
///
/// Frames can only be freed in reverse order, as a mapping that fails does.
struct EarlyFrames: ~Copyable, FrameSource {
  private let run: UnsafeMutablePointer<FrameRun>

  private init(_ run: UnsafeMutablePointer<FrameRun>) { self.run = run }

  /// The frames that the image reserves for more early tables.
  static func forEarlyTables(_ space: EarlyAddressSpace) -> EarlyFrames {
    let run = pointer(to: &earlyTables)
    if run.pointee.end == PageFrame(0) {
      let first = PhysicalAddress(space.physical(kernel_early_frames())).frame
      let end = PhysicalAddress(space.physical(kernel_early_frames_end())).frame
      run.pointee = FrameRun(first: first, next: first, end: end)
    }
    return EarlyFrames(run)
  }

  /// The frames from `first` up to but not including `end`, for the final tables.
  static func forFinalTables(first: PageFrame, end: PageFrame) -> EarlyFrames {
    let run = pointer(to: &finalTables)
    run.pointee = FrameRun(first: first, next: first, end: end)
    return EarlyFrames(run)
  }

  /// The frames set aside for the final tables.
  static var runOfFinalTables: FrameRun { finalTables }

  /// The first frame that is not handed out.
  var firstUnused: PageFrame { run.pointee.next }

  var nodeCount: Int { 1 }
  var totalFrames: Int { run.pointee.end - run.pointee.next }
  func node(of frame: PageFrame) -> NodeID { NodeID(0) }

  func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    guard request.order == 0, totalFrames > 0 else {
      throw .refused(
        FrameRefusal(
          order: request.order, purpose: request.purpose, freeFrames: totalFrames,
          largestFreeOrder: totalFrames > 0 ? 0 : -1))
    }
    let frame = run.pointee.next
    run.pointee.next = frame + 1
    let machine = AArch64()
    if request.cleared { machine.clear(machine.linearAddress(of: frame), byteCount: pageSize) }
    return frame
  }

  func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    guard order == 0, frame + 1 == run.pointee.next else { throw .foreignFrame(frame) }
    run.pointee.next = frame
  }
}

// The address of a global never changes.
private func pointer(to run: inout FrameRun) -> UnsafeMutablePointer<FrameRun> {
  withUnsafeMutablePointer(to: &run) { $0 }
}
