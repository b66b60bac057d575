// A chunk of address space for small areas: 2 MiB, all of one leaf table, and a frame that describes them.
//
//   address space                                                       the frame of the chunk
//   +------+-------+------+-------+-- … --+-------------------+        +--------------------+ 0
//   | area | guard | area | guard | free  | 16 pages not used |        | a word per page    |
//   +------+-------+------+-------+-- … --+-------------------+        |  (496 of them)     |
//   base                                                 +2 MiB        +--------------------+ 3968
//                                                                      | taken: a bit a page|
//                                                                      +--------------------+ 4032
//                                                                      | ChunkHeader        |
//                                                                      +--------------------+ 4096
//
// The word of an area's first page (that of all others is 0):
//
//   63  62 61   60 59        54 53        48 47                                              0
//  +------+-------+------------+------------+-------------------------------------------------+
//  |  0   | state | pages with | pages      | building, live: the caller's name               |
//  |      |       | the guard  |            | retired: the next area of the list, or 0        |
//  +------+-------+------------+------------+-------------------------------------------------+
//
// Who writes: a CPU sets bits under the lock of the CPU that the chunk belongs to. Any CPU clears them, in one atomic
// operation, as the last step of freeing. So a CPU that frees what another one allocated does not need that CPU's lock.
// A word becomes `live` once its pages are mapped, and `retired` by one exchange: of two CPUs that free it, one succeeds.

import KernelMachine
import Synchronization

/// The stage in the life of a small area.
enum SmallAreaState {
  static var building: UInt64 { 1 }
  static var live: UInt64 { 2 }
  static var retired: UInt64 { 3 }
}

/// The word of a small area.
struct SmallAreaWord: Equatable {
  let rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(state: UInt64, totalPages: Int, pages: Int, payload: UInt64) {
    rawValue =
      state &<< 60 | UInt64(truncatingIfNeeded: totalPages) &<< 54 | UInt64(truncatingIfNeeded: pages) &<< 48
      | payload & 0xffff_ffff_ffff
  }

  var state: UInt64 { rawValue &>> 60 }
  var totalPages: Int { Int(truncatingIfNeeded: (rawValue &>> 54) & 63) }
  /// The pages that are mapped, or that still wait for their frames to go back.
  var pages: Int { Int(truncatingIfNeeded: (rawValue &>> 48) & 63) }
  var payload: UInt64 { rawValue & 0xffff_ffff_ffff }

  func with(state: UInt64) -> Self {
    Self(rawValue: rawValue & ~(3 &<< 60) | state &<< 60)
  }

  /// The word of the same area, retired, with the next area of its list.
  func retired(before next: UInt32) -> Self {
    Self(state: SmallAreaState.retired, totalPages: totalPages, pages: pages, payload: UInt64(next))
  }

  /// The caller's name, whose bytes end in a zero.
  var caller: UnsafePointer<UInt8>? {
    UnsafePointer(bitPattern: Int(truncatingIfNeeded: Int64(bitPattern: rawValue &<< 16) &>> 16))
  }

  /// The bits of a caller's name that the word keeps.
  static func payload(for caller: StaticString) -> UInt64 {
    guard caller.hasPointerRepresentation else { return 0 }
    return UInt64(UInt(bitPattern: caller.utf8Start)) & 0xffff_ffff_ffff
  }
}

/// The fields of a chunk that are written under the lock of its CPU, and those that never change.
struct ChunkHeader {
  /// The address of the leaf table.
  var leafTable: PhysicalAddress
  let base: UInt
  /// The frame that holds this header.
  let frame: PageFrame
  /// The index of the chunk in the directory.
  let index: Int
  /// The number of the CPU record that it belongs to.
  let owner: Int
  /// The next chunk of the same CPU, in a ring.
  var next: Int
  /// The word of the bit map where the last search ended.
  var hint: Int

  init(base: UInt, frame: PageFrame, index: Int, owner: Int) {
    leafTable = PhysicalAddress(0)
    self.base = base
    self.frame = frame
    self.index = index
    self.owner = owner
    next = index
    hint = 0
  }
}

/// A chunk, named by the memory of its frame.
struct SmallChunk: Equatable {
  let memory: UnsafeMutableRawPointer

  init(memory: UnsafeMutableRawPointer) { self.memory = memory }

  static var byteCount: Int { 2 << 20 }
  /// The pages that areas may take: one for each word that fits the frame.
  static var usablePages: Int { 496 }
  static var takenOffset: Int { 3968 }
  static var headerOffset: Int { 4032 }

  /// Prepares a chunk without areas in a cleared frame.
  init(at memory: UnsafeMutableRawPointer, _ header: ChunkHeader) {
    self.memory = memory
    (memory + Self.headerOffset).initializeMemory(as: ChunkHeader.self, to: header)
    bits(7).pointee.store(0xffff_0000_0000_0000, ordering: .relaxed)
  }

  var header: UnsafeMutablePointer<ChunkHeader> {
    (memory + Self.headerOffset).assumingMemoryBound(to: ChunkHeader.self)
  }

  /// The word of a page.
  func word(_ page: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    (memory + page &* 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  func bits(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    (memory + Self.takenOffset + index &* 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Whether no area lies here.
  var isEmpty: Bool {
    for index in 0..<7 where bits(index).pointee.load(ordering: .acquiring) != 0 { return false }
    return bits(7).pointee.load(ordering: .acquiring) == 0xffff_0000_0000_0000
  }

  /// Takes a run of pages, near where the last one was taken.
  ///
  /// The lock of the owner is held.
  ///
  /// - Parameters:
  ///   - count: 1 to 32.
  ///   - alignment: what the first page's number is a multiple of: a power of two up to 64.
  /// - Returns: the first page; `nil` if there is no such run.
  func take(_ count: Int, alignment: Int) -> Int? {
    // The bits whose numbers are multiples of the alignment.
    let allowed =
      alignment == 1 ? UInt64.max : alignment == 64 ? 1 : UInt64.max / (1 &<< UInt64(alignment) &- 1)
    let first = header.pointee.hint
    var index = first
    repeat {
      let low = ~bits(index).pointee.load(ordering: .acquiring)
      let following = index &+ 1
      if low & allowed != 0 {
        let high = following == 8 ? 0 : ~bits(following).pointee.load(ordering: .acquiring)
        let run = Self.starts(ofRunsOf: count, low, high) & allowed
        if run != 0 {
          let bit = run.trailingZeroBitCount
          mark(index, bit, count)
          header.pointee.hint = index
          return index &* 64 &+ bit
        }
      }
      index = following & 7
    } while index != first
    return nil
  }

  /// The bits of `low` at which a run of at least `count` set bits starts; `high` follows above.
  static func starts(ofRunsOf count: Int, _ low: UInt64, _ high: UInt64) -> UInt64 {
    var low = low
    var high = high
    var length = 1
    while length < count {
      let step = UInt64(truncatingIfNeeded: min(length, count &- length))
      low &= low &>> step | high &<< (64 &- step)
      high &= high &>> step
      length &+= Int(truncatingIfNeeded: step)
    }
    return low
  }

  func mark(_ index: Int, _ bit: Int, _ count: Int) {
    let run: UInt64 = 1 &<< UInt64(truncatingIfNeeded: count) &- 1
    bits(index).pointee.bitwiseOr(run &<< UInt64(truncatingIfNeeded: bit), ordering: .relaxed)
    if bit &+ count > 64 {
      bits(index &+ 1).pointee.bitwiseOr(run &>> UInt64(truncatingIfNeeded: 64 &- bit), ordering: .relaxed)
    }
  }

  /// Frees the pages of an area, to which no translation leads any more.
  func clear(_ page: Int, _ count: Int) {
    word(page).pointee.store(0, ordering: .relaxed)
    let run: UInt64 = 1 &<< UInt64(truncatingIfNeeded: count) &- 1
    let index = page &>> 6
    let bit = page & 63
    bits(index).pointee.bitwiseAnd(~(run &<< UInt64(truncatingIfNeeded: bit)), ordering: .releasing)
    if bit &+ count > 64 {
      bits(index &+ 1).pointee.bitwiseAnd(
        ~(run &>> UInt64(truncatingIfNeeded: 64 &- bit)), ordering: .releasing)
    }
  }

  /// The first page of the area that a page lies in, its guard included.
  func start(of page: Int) -> Int? {
    var candidate = page
    while candidate >= 0 && page &- candidate < SmallAreas.largestPages {
      let word = SmallAreaWord(rawValue: word(candidate).pointee.load(ordering: .relaxed))
      if word.rawValue != 0 { return page &- candidate < word.totalPages ? candidate : nil }
      candidate &-= 1
    }
    return nil
  }
}
