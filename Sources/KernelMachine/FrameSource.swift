// Where page frames come from.

/// What a frame is wanted for; refusals name it.
public enum FramePurpose: UInt8, Equatable, Sendable {
  /// A thread's kernel stack.
  case threadStack
  /// A translation table.
  case pageTable
  /// The memory of an EL0 process.
  case userMemory
  /// A task record or a table of them.
  case taskRecord
  /// An area of the vmalloc area.
  case vmalloc
  /// An allocator's own records.
  case metadata
  /// Anything else.
  case other

  /// The purpose in words.
  public var name: StaticString {
    switch self {
    case .threadStack: "a thread stack"
    case .pageTable: "a page table"
    case .userMemory: "user memory"
    case .taskRecord: "a task record"
    case .vmalloc: "a vmalloc area"
    case .metadata: "allocator records"
    case .other: "another use"
    }
  }
}

/// A request for one block of page frames.
public struct FrameRequest: Equatable, Sendable {
  /// log2 of the number of frames: 0…10.
  public var order: Int
  /// The preferred node; `nil` means the node of the current CPU.
  ///
  /// Other nodes serve when it cannot.
  public var node: NodeID?
  /// What the frames are for.
  public var purpose: FramePurpose
  /// Whether every byte must read as zero.
  public var cleared: Bool

  /// A request for `1 << order` frames.
  public init(order: Int = 0, node: NodeID? = nil, purpose: FramePurpose, cleared: Bool = false) {
    self.order = order
    self.node = node
    self.purpose = purpose
    self.cleared = cleared
  }
}

/// What a frame holds when it is handed out.
public enum FrameContents: Equatable, Sendable {
  /// Zero in every byte.
  case zeroed
  /// Whatever its last owner left.
  case unknown
}

/// Why a request for frames was refused: what was asked, and what there was.
public struct FrameRefusal: Equatable, Sendable, TextDescribable {
  /// log2 of the number of frames that were asked for.
  public var order: Int
  /// What they were for.
  public var purpose: FramePurpose
  /// Free memory on all nodes at that moment, in frames.
  public var freeFrames: Int
  /// The order of the largest free block on any node, or -1 when nothing is free.
  public var largestFreeOrder: Int

  /// A refusal with its figures.
  public init(order: Int, purpose: FramePurpose, freeFrames: Int, largestFreeOrder: Int) {
    self.order = order
    self.purpose = purpose
    self.freeFrames = freeFrames
    self.largestFreeOrder = largestFreeOrder
  }

  /// Writes, for example, `order 2 for a thread stack refused: 57 MiB free, largest block 8 KiB`.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    sink.write("order %d for ", order)
    sink.write(purpose.name)
    sink.write(
      " refused: %b free, largest block %b", freeFrames &<< 12,
      largestFreeOrder < 0 ? 0 : 4096 &<< largestFreeOrder)
  }
}

/// What can go wrong between a frame source and its user.
///
/// Nothing has changed when one is thrown.
public enum FrameSourceError: Error, Equatable, TextDescribable {
  /// No block of that order is free.
  case refused(FrameRefusal)
  /// The order is below 0 or above the largest.
  case invalidOrder(Int)
  /// There is no such node.
  case unknownNode(NodeID)
  /// The frame is not one of the source's.
  case foreignFrame(PageFrame)
  /// The frame is free already.
  case doubleFree(PageFrame)
  /// What the source handed out is no free frame: no memory, or in use already.
  case unusableFrame(PageFrame)
  /// The block was handed out with another order, or the frame is not the first of its block.
  case wrongOrder(PageFrame, order: Int)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .refused(let refusal): refusal.write(to: &sink)
    case .invalidOrder(let order): sink.write("order %d is outside 0…10", order)
    case .unknownNode(let node): sink.write("there is no NUMA node %d", node.index)
    case .foreignFrame(let frame): sink.write("frame %x is not managed here", frame.number)
    case .doubleFree(let frame): sink.write("frame %x is free already", frame.number)
    case .unusableFrame(let frame):
      sink.write("frame %x was handed out, and is no free frame", frame.number)
    case .wrongOrder(let frame, let order):
      sink.write(
        "frame %x does not start an allocated block of order %d", frame.number, UInt(bitPattern: order))
    }
  }
}

/// Gives and takes back blocks of page frames.
///
/// All operations may be called on several CPUs at once. Interrupts may be on or off, except that
/// ``allocateTogether(_:count:_:)`` needs them off. Only ``allocate(_:)`` and ``allocate(_:count:_:)`` may sleep, if whoever called
/// for what needs the frames may: the allocators hold no lock then, and have interrupts as they were.
public protocol FrameSource: ~Copyable {
  /// Hands out a block.
  ///
  /// - Returns: the first frame of a block of `1 << request.order` frames, aligned to its size.
  borrowing func allocate(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame

  /// Hands out a block as ``allocate(_:)`` does, and never sleeps: for CPUs that are about to switch threads.
  ///
  /// There is a default, for sources that never sleep: ``allocate(_:)``.
  borrowing func allocateWithoutWaiting(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame

  /// Hands out several single frames, which need not be neighbours.
  ///
  /// A source that has them at hand gives all of them in one step. There is a default, which asks for one after the other.
  ///
  /// - Parameters:
  ///   - request: what each of them is to be; its order is 0.
  ///   - count: how many.
  ///   - body: gets each frame, which belongs to the caller from then on.
  /// - Throws: when there are fewer; what `body` has got by then is the caller's, to keep or to give back.
  borrowing func allocate(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) throws(FrameSourceError)

  /// Hands out several single frames at once: all of them or none.
  ///
  /// It takes at most spin locks, and clears nothing. Interrupts must be off. There is a default, which refuses: then the caller
  /// asks by ``allocate(_:count:_:)``.
  ///
  /// - Parameters:
  ///   - request: what each of them is to be; its order is 0. If it is for cleared frames, zeroed ones serve first, and the
  ///     caller clears others itself.
  ///   - count: how many; at least 1.
  ///   - body: gets each frame, which belongs to the caller from then on.
  /// - Returns: what all of them hold; `nil` when the request is refused, and nothing has changed.
  borrowing func allocateTogether(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) -> FrameContents?

  /// Takes back a block that ``allocate(_:)`` handed out with this order.
  borrowing func free(_ frame: PageFrame, order: Int) throws(FrameSourceError)

  /// The node that a frame belongs to. The frame must be one of the source's.
  borrowing func node(of frame: PageFrame) -> NodeID

  /// Whether a frame is one of the source's, free or not: then it is memory.
  ///
  /// There is a default, which takes any frame for one: for owners that never pass on a foreign address.
  borrowing func contains(_ frame: PageFrame) -> Bool

  /// How many NUMA nodes there are.
  var nodeCount: Int { borrowing get }

  /// How many frames the source manages, free or not; `Int.max` if it does not know.
  var totalFrames: Int { borrowing get }
}

extension FrameSource where Self: ~Copyable {
  /// Hands out a block: the source never sleeps.
  @inline(__always)
  public borrowing func allocateWithoutWaiting(_ request: FrameRequest) throws(FrameSourceError) -> PageFrame {
    try allocate(request)
  }

  /// Refuses.
  public borrowing func allocateTogether(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) -> FrameContents? { nil }

  /// Takes any frame for one of the source's.
  public borrowing func contains(_ frame: PageFrame) -> Bool { true }

  /// Hands out several single frames, one after the other.
  public borrowing func allocate(
    _ request: FrameRequest, count: Int, _ body: (PageFrame) -> Void
  ) throws(FrameSourceError) {
    var left = count
    while left > 0 {
      body(try allocate(request))
      left &-= 1
    }
  }
}
