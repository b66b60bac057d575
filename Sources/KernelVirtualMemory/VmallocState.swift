// The changing part of a vmalloc area, in a page frame of its own.
//
//   0            64           128            320          384                                       4096
//   +------------+------------+--------------+------------+-----------------+--------+-- … --+--------+
//   | order of   | lock of    | VmallocState | RecordPage | record of the   | record |       | record |
//   | flushes    | the state  |              |            | sentinel        |        |       |        |
//   +------------+------------+--------------+------------+-----------------+--------+-- … --+--------+
//
// Two locks, the first always taken before the second:
// - `flushLock` makes invalidations follow one another. It is held while one is waited for.
// - `lock` guards the state and the translation tables above the leaf entries. It is never held while a frame is
//   allocated, cleared or freed, or an invalidation is waited for.
//
// Leaf entries are written under neither: they belong to their area, and an area to whoever allocates or frees it.

import KernelMachine

/// What a vmalloc area knows.
///
/// All of it is guarded by the lock.
@usableFromInline struct VmallocState {
  @usableFromInline var areas: AreaTree
  @usableFromInline var records: RecordPages
  /// The freed areas that wait for an invalidation, latest first, linked by their records.
  @usableFromInline var retired: AreaPointer?
  @usableFromInline var figures: VmallocFigures

  @usableFromInline static var lockOffset: Int { 64 }
  @usableFromInline static var stateOffset: Int { 128 }
  @usableFromInline static var recordsOffset: Int { 320 }

  /// Prepares the state of an empty area in a cleared frame.
  @usableFromInline static func make(at memory: UnsafeMutableRawPointer, range: VirtualAddressRange) {
    (memory + 0).bindMemory(to: SpinLock.self, capacity: 1).initialize(to: SpinLock())
    (memory + lockOffset).bindMemory(to: SpinLock.self, capacity: 1).initialize(to: SpinLock())
    let page = RecordPage.make(at: memory + recordsOffset, byteCount: pageSize - recordsOffset, frame: nil)
    var records = RecordPages(first: page)
    let sentinel = records.take().unsafelyUnwrapped
    let areas = AreaTree(
      lowerBound: range.lowerBound.rawValue, upperBound: range.upperBound.rawValue, sentinel: sentinel)
    (memory + stateOffset).bindMemory(to: VmallocState.self, capacity: 1).initialize(
      to: VmallocState(areas: areas, records: records, retired: nil, figures: VmallocFigures()))
  }
}

/// Where a state lies.
@usableFromInline struct VmallocStatePointer {
  @usableFromInline let memory: UnsafeMutableRawPointer
  /// Whether only its maker knows it: the first allocation of all is still under way.
  @usableFromInline let isPrivate: Bool
  @usableFromInline let frame: PageFrame

  @inlinable init(memory: UnsafeMutableRawPointer, frame: PageFrame, isPrivate: Bool) {
    self.memory = memory
    self.frame = frame
    self.isPrivate = isPrivate
  }

  @inlinable var flushLock: UnsafeMutablePointer<SpinLock> { memory.assumingMemoryBound(to: SpinLock.self) }
  @inlinable var lock: UnsafeMutablePointer<SpinLock> {
    (memory + VmallocState.lockOffset).assumingMemoryBound(to: SpinLock.self)
  }
  @inlinable var state: UnsafeMutablePointer<VmallocState> {
    (memory + VmallocState.stateOffset).assumingMemoryBound(to: VmallocState.self)
  }
}

/// What a vmalloc area holds at a moment.
@frozen public struct VmallocFigures: Equatable, Sendable {
  /// Areas in use, stack arenas included.
  public var areas = 0
  /// Pages mapped by areas in use (those of stack arenas are not known here).
  public var mappedPages = 0
  /// Freed areas that wait for an invalidation.
  public var retiredAreas = 0
  /// Frames that wait for an invalidation, tables not included.
  public var retiredPages = 0
  /// Frames that hold translation tables built here.
  public var tableFrames = 0
  /// Frames that hold the allocator's records.
  public var recordFrames = 0

  /// All zero.
  @inlinable public init() {}
}
