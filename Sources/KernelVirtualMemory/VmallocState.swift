// The mutable state of a vmalloc area, in a page frame of its own; a second frame holds that of small areas
// (SmallAreas.swift), where the range is large enough for them.
//
//   0            64           128            320          384                                       4096
//   +------------+------------+--------------+------------+-----------------+--------+-- … --+--------+
//   | flushLock, | lock of    | VmallocState | RecordPage | record of the   | record |       | record |
//   | flushCount | the state  |              |            | sentinel        |        |       |        |
//   +------------+------------+--------------+------------+-----------------+--------+-- … --+--------+
//
// The locks, each taken before those below it:
// - `flushLock`: one flush, or one release of a stack arena's tables, at a time. It is held while an invalidation is waited
//   for, and while a flush frees frames.
// - `lock`: the tree, its records, the lists of freed areas, and the translation tables above the leaf entries. It is
//   never held while a frame is allocated, cleared or freed, or an invalidation is waited for.
// - the lock of a CPU (SmallAreas.swift), never two at a time: its chunks and its lists. Small areas need no other.
//
// Leaf entries are written under none: they belong to their area, and an area to the CPU that allocates or frees it.

import KernelMachine
import Synchronization

/// The state of a vmalloc area, guarded by `lock`.
struct VmallocState {
  var areas: AreaTree
  var records: RecordPages
  /// The freed areas that wait for an invalidation, latest first, linked by their records.
  var retired: AreaPointer?
  /// The freed areas whose invalidation has completed, and whose frames have not all gone back.
  var ready: AreaPointer?
  /// The areas and pages of `figures` in `retired`; the others are ready, or their invalidation is under way.
  var pendingAreas = 0
  var pendingPages = 0
  /// Whether an invalidation is under way after which a batch will be ready.
  var isInvalidating = false
  /// Whether an idle table may be linked.
  var mayHaveIdleTables = false
  /// The number of chunks for small areas.
  var chunks = 0
  var figures: VmallocFigures
  /// The state of small areas; `nil` where the range is too small for any.
  let small: SmallAreas?
  /// The frame of `small`.
  let smallFrame: PageFrame?

  static var lockOffset: Int { 64 }
  static var stateOffset: Int { 128 }
  static var recordsOffset: Int { 320 }

  /// Prepares the state of an empty area in a cleared frame.
  static func make(
    at memory: UnsafeMutableRawPointer, range: VirtualAddressRange, small: SmallAreas?, smallFrame: PageFrame?
  ) {
    (memory + 0).bindMemory(to: SpinLock.self, capacity: 1).initialize(to: SpinLock())
    (memory + lockOffset).bindMemory(to: SpinLock.self, capacity: 1).initialize(to: SpinLock())
    let page = RecordPage.make(at: memory + recordsOffset, byteCount: pageSize - recordsOffset, frame: nil)
    var records = RecordPages(first: page)
    let sentinel = records.take().unsafelyUnwrapped
    let areas = AreaTree(
      lowerBound: range.lowerBound.rawValue, upperBound: range.upperBound.rawValue, sentinel: sentinel)
    (memory + stateOffset).bindMemory(to: VmallocState.self, capacity: 1).initialize(
      to: VmallocState(
        areas: areas, records: records, retired: nil, figures: VmallocFigures(), small: small,
        smallFrame: smallFrame))
  }
}

/// A pointer to a state.
struct VmallocStatePointer {
  let memory: UnsafeMutableRawPointer
  /// Whether it is not published: the first allocation is still under way.
  let isPrivate: Bool
  let frame: PageFrame

  init(memory: UnsafeMutableRawPointer, frame: PageFrame, isPrivate: Bool) {
    self.memory = memory
    self.frame = frame
    self.isPrivate = isPrivate
  }

  var flushLock: UnsafeMutablePointer<SpinLock> { memory.assumingMemoryBound(to: SpinLock.self) }
  /// The number of flushes that have freed a frame.
  var flushCount: UnsafeMutablePointer<Atomic<UInt>> {
    (memory + 8).assumingMemoryBound(to: Atomic<UInt>.self)
  }
  var lock: UnsafeMutablePointer<SpinLock> {
    (memory + VmallocState.lockOffset).assumingMemoryBound(to: SpinLock.self)
  }
  var state: UnsafeMutablePointer<VmallocState> {
    (memory + VmallocState.stateOffset).assumingMemoryBound(to: VmallocState.self)
  }
  var small: SmallAreas? { state.pointee.small }
}

/// The figures of a vmalloc area at a moment.
public struct VmallocFigures: Equatable, Sendable {
  /// Areas in use, stack arenas included.
  public var areas = 0
  /// Pages mapped by areas in use, without those of stack arenas.
  public var mappedPages = 0
  /// Freed areas that wait for an invalidation, or for their turn after it.
  public var retiredAreas = 0
  /// Frames that wait for an invalidation, or for their turn after it, tables not included.
  public var retiredPages = 0
  /// Frames that hold translation tables built here.
  public var tableFrames = 0
  /// Frames that hold the allocator's records.
  public var recordFrames = 0

  /// All zero.
  public init() {}
}
