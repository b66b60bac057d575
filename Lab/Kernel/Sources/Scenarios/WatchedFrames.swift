// The source of page frames in a kernel that runs scenarios: the frame allocator, watched while a scenario asks for it.

import KernelProcesses
import KernelStacks

/// A machine that scenarios run on: its page tables are built, and what it does is counted.
public typealias ScenarioMachine = PageTableMachine & MeasuredMachine & AccessFlagMachine

/// The parts of a kernel that runs scenarios.
public protocol ScenarioParts: KernelParts where M: ScenarioMachine, Frames == WatchedFrames<Self> {
  /// What counts and refuses allocations; `nil` ordinarily.
  ///
  /// All copies of the handle have the same.
  var watch: UnsafeMutablePointer<FrameWatch>? { get nonmutating set }
}

/// A handle to the frame allocator; all goes by the watch while there is one.
public struct WatchedFrames<Parts: ScenarioParts>: ProcessFrameSource {
  private let parts: Parts

  /// A handle to the frame allocator among these parts.
  public init(_ parts: Parts) { self.parts = parts }

  /// Hands out a block.
  public func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    if let watch = parts.watch { return try allocate(request, under: watch) }
    return try parts.frameAllocator.pointee.allocate(request)
  }

  /// Hands out several single frames; under watch each counts as an allocation of its own.
  public func allocate(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) throws(FrameSourceError) {
    if let watch = parts.watch { return try allocate(request, count: count, under: watch, body) }
    try parts.frameAllocator.pointee.allocate(request, count: count, body)
  }

  /// Hands out several single frames at once; under watch each counts as an allocation of its own.
  public func allocateTogether(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) -> FrameContents? {
    if let watch = parts.watch { return allocateTogether(request, count: count, under: watch, body) }
    return parts.frameAllocator.pointee.allocateTogether(request, count: count, body)
  }

  // What happens under watch is kept out of the code that allocates.

  @inline(never) private func allocate(
    _ request: FrameRequest, under watch: UnsafeMutablePointer<FrameWatch>
  ) throws(FrameSourceError) -> PageFrame {
    try watch.pointee.allocate(request, from: parts.frameAllocator.pointee)
  }

  @inline(never) private func allocate(
    _ request: FrameRequest, count: Int, under watch: UnsafeMutablePointer<FrameWatch>,
    _ body: (PageFrame) -> Void
  ) throws(FrameSourceError) {
    try watch.pointee.allocate(request, count: count, from: parts.frameAllocator.pointee, body)
  }

  @inline(never) private func allocateTogether(
    _ request: FrameRequest, count: Int, under watch: UnsafeMutablePointer<FrameWatch>,
    _ body: (PageFrame) -> Void
  ) -> FrameContents? {
    watch.pointee.allocateTogether(request, count: count, from: parts.frameAllocator.pointee, body)
  }

  /// Takes a block back.
  public func free(_ frame: PageFrame, order: Int) throws(FrameSourceError) {
    try parts.frameAllocator.pointee.free(frame, order: order)
    if let watch = parts.watch { watch.pointee.noteFreed(order: order) }
  }

  /// The node that a frame belongs to.
  public func node(of frame: PageFrame) -> NodeID { parts.frameAllocator.pointee.node(of: frame) }

  /// Whether a frame is one of the allocator's.
  public func contains(_ frame: PageFrame) -> Bool { parts.frameAllocator.pointee.contains(frame) }

  /// How many NUMA nodes there are.
  public var nodeCount: Int { parts.frameAllocator.pointee.nodeCount }

  /// How many frames the allocator manages.
  public var totalFrames: Int { parts.frameAllocator.pointee.totalFrames }

  /// Free frames on all nodes.
  public var freeFrames: Int { parts.frameAllocator.pointee.freeFrames }

  /// A word that belongs to the owner of a frame.
  public func ownerWord(of frame: PageFrame) -> UnsafeMutablePointer<UInt32>? {
    parts.frameAllocator.pointee.ownerWord(of: frame)
  }

  /// Merges the free frames that are kept for speed.
  @discardableResult public func drain() -> Int { parts.frameAllocator.pointee.drain() }
}
