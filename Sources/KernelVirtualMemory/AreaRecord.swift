// The record of one area: its addresses, and its links in the tree of areas. The lock of the state guards it.
//
//      gapStart        start   base                              end
//   ------+--------------+-------+--------------------+-----------+------
//         |     gap      |       | byteCount          |   guard   |
//   ------+--------------+-------+--------------------+-----------+------
//   previous.end                                              next.gapStart
//
// A general area has start = base. A stack arena is widened to whole last-level tables (2 MiB), so there start ≤ base.

import KernelMachine

typealias AreaPointer = UnsafeMutablePointer<AreaRecord>

/// The use of an area.
enum AreaKind: UInt8 {
  /// Mapped by `vmalloc`.
  case general
  /// Reserved for stacks; the stack allocator maps it.
  case stacks
}

/// The stage in the life of an area.
enum AreaState: UInt8 {
  /// Its addresses are reserved; not all of its frames are allocated.
  case building
  /// In use.
  case live
  /// Freed: its entries are retired or about to be; its addresses and frames wait for an invalidation.
  case retired
}

struct AreaRecord {
  var start: UInt
  var end: UInt
  var base: UInt
  var byteCount: Int
  var gapStart: UInt

  /// The tree, ordered by address.
  var parent: AreaPointer?
  var left: AreaPointer?
  var right: AreaPointer?
  /// The same order as a list.
  var previous: AreaPointer?
  var next: AreaPointer?

  /// The next free record of the page, or the next area that waits for an invalidation.
  var link: AreaPointer?
  /// The page of records that this one lies in.
  let page: UnsafeMutablePointer<RecordPage>
  var caller: StaticString
  var height: UInt8
  var kind: AreaKind
  var state: AreaState
  /// Of a retired area: the number of its lowest pages whose frames have not gone back.
  var waitingPages: UInt32
  /// For each alignment 4 KiB « lane: the bytes of the largest aligned area that fits a gap of this subtree.
  var room: RoomPerAlignment

  /// A record that is in no tree.
  init(in page: UnsafeMutablePointer<RecordPage>) {
    start = 0
    end = 0
    base = 0
    byteCount = 0
    gapStart = 0
    self.page = page
    caller = ""
    height = 1
    kind = .general
    state = .building
    waitingPages = 0
    room = RoomPerAlignment(repeating: 0)
  }

  /// The bytes of the gap below from its first multiple of 4 KiB « lane on.
  func ownRoom(lane: Int) -> UInt {
    let mask: UInt = 4096 &<< UInt(bitPattern: lane) &- 1
    let first = (gapStart &+ mask) & ~mask
    return first < start && first >= gapStart ? start &- first : 0
  }
}

/// One figure for each alignment from 4 KiB to 2 MiB.
typealias RoomPerAlignment = InlineArray<10, UInt>

/// The size and alignment of a new area.
struct AreaShape {
  /// The bytes handed out.
  let byteCount: Int
  /// The unmapped bytes that follow.
  let guardBytes: Int
  let alignment: UInt
  /// The offset of the base from a multiple of `alignment`.
  let phase: UInt
  /// The alignment of the area's start and end: 4 KiB, or 2 MiB so that it shares no last-level table.
  let granularity: UInt

  init(byteCount: Int, guardBytes: Int, alignment: UInt, phase: UInt, granularity: UInt) {
    self.byteCount = byteCount
    self.guardBytes = guardBytes
    self.alignment = alignment
    self.phase = phase
    self.granularity = granularity
  }

  /// The bytes that the area takes at least.
  var leastBytes: UInt { UInt(bitPattern: byteCount &+ guardBytes) }

  /// The index of the room figure to search by: exact without a phase, for alignments up to 2 MiB.
  var lane: Int {
    if granularity > 4096 { return 0 }
    return min(alignment.trailingZeroBitCount &- 12, 9)
  }

  /// Whether a gap with enough room in the lane holds the area for certain.
  var isExactInLane: Bool { granularity == 4096 && phase == 0 && alignment <= 4096 &<< 9 }

  /// The lowest place in a gap: the area's start, its base and its end.
  func place(in gap: Range<UInt>) -> (start: UInt, base: UInt, end: UInt)? {
    let edge = granularity &- 1
    let (widened, overflow) = gap.lowerBound.addingReportingOverflow(edge)
    if overflow { return nil }
    let lowest = widened & ~edge
    let mask = alignment &- 1
    // The first address at or above `lowest` that is `phase` above a multiple of the alignment.
    let base = lowest &+ ((phase &- lowest) & mask)
    if base < lowest { return nil }
    let (top, overflow2) = base.addingReportingOverflow(UInt(bitPattern: byteCount))
    if overflow2 { return nil }
    let end = ((top &+ edge) & ~edge) &+ UInt(bitPattern: guardBytes)
    if end <= base || end > gap.upperBound { return nil }
    return (base & ~edge, base, end)
  }
}
