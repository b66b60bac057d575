// The shared state of small areas, in one frame: a record for each CPU, and the directory of chunks.
//
//   0         128        256                 2048                                        4096
//   +---------+---------+---------+-- … --+---------+---------+---------+-- … --+---------+
//   | CPUAreas| CPUAreas|         | 16    | chunk 0 | chunk 1 |         |  256 words      |
//   +---------+---------+---------+-- … --+---------+---------+---------+-- … --+---------+
//     CPU 0     CPU 1                       0: none, 1: reserved, 2: being released, else its frame in memory
//
// CPUs above the 16th share the records of the others. Each record has a lock, so sharing is slower but correct.

import KernelMachine
import Synchronization

/// Small areas that have been freed, linked through their words.
///
/// An area is named by 1 + chunk · 512 + page.
struct SmallAreaList {
  var head: UInt32 = 0
  var tail: UInt32 = 0
  var areas: Int = 0
  var pages: Int = 0

  init() {}
}

/// A CPU's record of small areas, guarded by the CPU's lock.
struct CPUAreas {
  var lock: SpinLock
  /// The chunk that was allocated from last, plus 1; 0 if the CPU has none.
  var current: Int
  var chunkCount: Int
  /// Freed areas that wait for an invalidation, latest first.
  var pending: SmallAreaList
  /// Freed areas whose invalidation has completed, and whose frames have not all gone back.
  var ready: SmallAreaList
  /// The bounds of the pending areas.
  var lowest: UInt
  var highest: UInt
  /// Allocated minus freed, on this CPU: only the sum over all CPUs means something.
  var liveAreas: Int
  var livePages: Int

  init() {
    lock = SpinLock()
    current = 0
    chunkCount = 0
    pending = SmallAreaList()
    ready = SmallAreaList()
    lowest = UInt.max
    highest = 0
    liveAreas = 0
    livePages = 0
  }
}

/// The frame of the small areas' state.
struct SmallAreas {
  let memory: UnsafeMutableRawPointer

  init(memory: UnsafeMutableRawPointer) { self.memory = memory }

  /// The pages of the largest small area, its guard included.
  static var largestPages: Int { 32 }
  /// The largest alignment of a small area, in pages.
  static var largestAlignment: Int { 64 }
  static var recordCount: Int { 16 }
  static var directoryOffset: Int { 2048 }
  /// The most chunks: 512 MiB of address space, for some 25,000 areas of four pages.
  static var largestChunkCount: Int { 256 }
  /// The chunks that one allocation looks into before it takes a new one.
  static var largestSearch: Int { 8 }

  static var reserved: UInt { 1 }
  static var releasing: UInt { 2 }

  /// Prepares a cleared frame.
  func initialize() {
    for index in 0..<Self.recordCount {
      (memory + index &* 128).initializeMemory(as: CPUAreas.self, to: CPUAreas())
    }
  }

  func record(_ index: Int) -> UnsafeMutablePointer<CPUAreas> {
    (memory + index &* 128).assumingMemoryBound(to: CPUAreas.self)
  }

  func lock(_ index: Int) -> UnsafeMutablePointer<SpinLock> {
    (memory + index &* 128).assumingMemoryBound(to: SpinLock.self)
  }

  func entry(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt>> {
    (memory + Self.directoryOffset + index &* 8).assumingMemoryBound(to: Atomic<UInt>.self)
  }

  /// The chunk at an index.
  ///
  /// It stays until a lock is released that was held when this was called: that of any CPU, or the state's.
  func chunk(_ index: Int) -> SmallChunk? {
    let value = entry(index).pointee.load(ordering: .acquiring)
    if value <= Self.releasing { return nil }
    return SmallChunk(memory: UnsafeMutableRawPointer(bitPattern: value).unsafelyUnwrapped)
  }

  static func name(_ chunk: Int, _ page: Int) -> UInt32 {
    UInt32(truncatingIfNeeded: chunk &<< 9 | page) &+ 1
  }

  /// The chunk and the page of an area in a list.
  func area(_ name: UInt32) -> (chunk: SmallChunk, page: Int) {
    let value = Int(truncatingIfNeeded: name &- 1)
    return (chunk(value &>> 9).unsafelyUnwrapped, value & 511)
  }

  /// Takes pages in one of a CPU's chunks, whose lock is held.
  func take(_ cpu: Int, _ count: Int, alignment: Int) -> (chunk: SmallChunk, page: Int)? {
    let record = record(cpu)
    var left = min(record.pointee.chunkCount, Self.largestSearch)
    while left > 0 {
      let chunk = chunk(record.pointee.current &- 1).unsafelyUnwrapped
      if let page = chunk.take(count, alignment: alignment) { return (chunk, page) }
      record.pointee.current = chunk.header.pointee.next &+ 1
      left &-= 1
    }
    return nil
  }

  /// Adds a chunk to a CPU, whose lock is held; the CPU's next search begins with it.
  func add(_ chunk: SmallChunk, to cpu: Int) {
    let record = record(cpu)
    let index = chunk.header.pointee.index
    entry(index).pointee.store(UInt(bitPattern: chunk.memory), ordering: .releasing)
    if record.pointee.current > 0 {
      let current = self.chunk(record.pointee.current &- 1).unsafelyUnwrapped
      chunk.header.pointee.next = current.header.pointee.next
      current.header.pointee.next = index
    }
    record.pointee.current = index &+ 1
    record.pointee.chunkCount &+= 1
  }

  /// Takes an empty chunk away from a CPU whose lock is held.
  func remove(_ chunk: SmallChunk, from cpu: Int) {
    let record = record(cpu)
    let index = chunk.header.pointee.index
    var previous = chunk
    while previous.header.pointee.next != index {
      previous = self.chunk(previous.header.pointee.next).unsafelyUnwrapped
    }
    previous.header.pointee.next = chunk.header.pointee.next
    if record.pointee.current == index &+ 1 {
      record.pointee.current = previous == chunk ? 0 : chunk.header.pointee.next &+ 1
    }
    record.pointee.chunkCount &-= 1
    entry(index).pointee.store(Self.releasing, ordering: .releasing)
  }

  /// Puts a retired area at the head of a list.
  func push(
    _ chunk: SmallChunk, _ page: Int, _ word: SmallAreaWord, to list: inout SmallAreaList
  ) {
    chunk.word(page).pointee.store(word.retired(before: list.head).rawValue, ordering: .relaxed)
    list.head = Self.name(chunk.header.pointee.index, page)
    if list.tail == 0 { list.tail = list.head }
    list.areas &+= 1
    list.pages &+= word.pages
  }

  /// Moves all of a list to the head of another.
  func move(_ list: inout SmallAreaList, to other: inout SmallAreaList) {
    guard list.head != 0 else { return }
    if other.head != 0 {
      let (chunk, page) = area(list.tail)
      let word = SmallAreaWord(rawValue: chunk.word(page).pointee.load(ordering: .relaxed))
      chunk.word(page).pointee.store(word.retired(before: other.head).rawValue, ordering: .relaxed)
      list.tail = other.tail
    }
    list.areas &+= other.areas
    list.pages &+= other.pages
    other = list
    list = SmallAreaList()
  }
}
