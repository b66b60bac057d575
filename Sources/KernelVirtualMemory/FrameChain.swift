// Frames in transit, linked through their own first words: a list of any length that needs no memory. One CPU owns it.
//
// Frames are in a chain between their allocation and the table that they are linked into, so that a refusal halfway is
// undone without having touched a table; and between the end of their invalidation and their return, so that they go
// back outside of locks.

import KernelMachine

/// A chain of single frames that no translation leads to.
struct FrameChain {
  /// The number of the first frame plus 1, or 0.
  ///
  /// The first word of each frame says the same of the next.
  var head: UInt = 0
  var count = 0

  init() {}

  mutating func push<M: Machine>(_ frame: PageFrame, machine: M) {
    Self.link(of: frame, machine: machine).pointee = head
    head = frame.number &+ 1
    count &+= 1
  }

  /// Takes a frame out and clears its first word.
  ///
  /// The chain must not be empty.
  mutating func pop<M: Machine>(machine: M) -> PageFrame {
    let frame = PageFrame(head &- 1)
    let link = Self.link(of: frame, machine: machine)
    head = link.pointee
    link.pointee = 0
    count &-= 1
    return frame
  }

  /// The first word of a frame; typed, so that it is stored as a word, not byte by byte, where unaligned accesses are not allowed.
  private static func link<M: Machine>(of frame: PageFrame, machine: M) -> UnsafeMutablePointer<UInt> {
    machine.pointer(to: frame.physicalAddress).assumingMemoryBound(to: UInt.self)
  }

  /// Allocates cleared frames until the chain has `wanted`.
  ///
  /// On a refusal, the frames allocated so far stay in it.
  mutating func grow<M: Machine, Frames: FrameSource & ~Copyable>(
    to wanted: Int, node: NodeID?, purpose: FramePurpose, from frames: borrowing Frames, machine: M
  ) throws(FrameSourceError) {
    guard count < wanted else { return }
    let request = FrameRequest(node: node, purpose: purpose, cleared: true)
    try frames.allocate(request, count: wanted &- count) { frame in push(frame, machine: machine) }
  }

  /// Takes all frames of another chain.
  mutating func append<M: Machine>(_ other: inout FrameChain, machine: M) {
    while other.count > 0 { push(other.pop(machine: machine), machine: machine) }
  }

  /// Frees all frames.
  mutating func giveBack<M: Machine, Frames: FrameSource & ~Copyable>(
    to frames: borrowing Frames, machine: M
  ) {
    while count > 0 { giveBackFrame(pop(machine: machine), to: frames) }
  }
}

/// Frees a single frame that was allocated here: an error could only mean that records are damaged.
func giveBackFrame<Frames: FrameSource & ~Copyable>(_ frame: PageFrame, to frames: borrowing Frames) {
  do {
    try frames.free(frame, order: 0)
  } catch {
    _checkFailed("a frame that was allocated here was refused by its source")
  }
}
