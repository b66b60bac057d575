// The page frames that hold the records of areas, each freed when its last record is free.
//
//   0             64                                             4096
//   +-------------+--------+--------+--------+-- … --+--------+--+
//   | RecordPage  | record | record | record |       | record |  |
//   +-------------+--------+--------+--------+-- … --+--------+--+
//
// The frame that holds the allocator's state (see VmallocState.swift) ends in a page of records too, which stays.

import KernelMachine

/// The head of a page of records.
struct RecordPage {
  /// The frame to free when no record is in use; `nil` for the page that stays.
  let frame: PageFrame?
  var free: AreaPointer?
  var used: Int
  /// The pages that have a free record.
  var previous: UnsafeMutablePointer<RecordPage>?
  var next: UnsafeMutablePointer<RecordPage>?

  static var headBytes: Int { 64 }

  /// Prepares a page of records in `byteCount` bytes from `memory`.
  static func make(
    at memory: UnsafeMutableRawPointer, byteCount: Int, frame: PageFrame?
  ) -> UnsafeMutablePointer<RecordPage> {
    let page = memory.bindMemory(to: RecordPage.self, capacity: 1)
    page.initialize(to: RecordPage(frame: frame, free: nil, used: 0, previous: nil, next: nil))
    let stride = MemoryLayout<AreaRecord>.stride
    var index = (byteCount - headBytes) / stride
    while index > 0 {
      index -= 1
      let record = (memory + headBytes + index * stride).bindMemory(to: AreaRecord.self, capacity: 1)
      record.initialize(to: AreaRecord(in: page))
      record.pointee.link = page.pointee.free
      page.pointee.free = record
    }
    return page
  }
}

/// The pages that have a free record.
///
/// Guarded by the lock of the state that it is part of.
struct RecordPages {
  var partial: UnsafeMutablePointer<RecordPage>?
  /// The number of frames that hold records, that of the state included.
  var frameCount: Int

  init(first page: UnsafeMutablePointer<RecordPage>) {
    partial = page
    frameCount = 1
  }

  /// Takes a free record, if there is one.
  mutating func take() -> AreaPointer? {
    guard let page = partial, let record = page.pointee.free else { return nil }
    page.pointee.free = record.pointee.link
    page.pointee.used &+= 1
    record.pointee.link = nil
    if page.pointee.free == nil { remove(page) }
    return record
  }

  /// Puts a record back.
  ///
  /// - Returns: the frame of its page, if that holds no other record in use.
  mutating func put(_ record: AreaPointer) -> PageFrame? {
    let page = record.pointee.page
    if page.pointee.free == nil { add(page) }
    record.pointee.link = page.pointee.free
    page.pointee.free = record
    page.pointee.used &-= 1
    guard page.pointee.used == 0, let frame = page.pointee.frame else { return nil }
    remove(page)
    frameCount &-= 1
    return frame
  }

  /// Takes out a page without a record in use.
  ///
  /// There may be one when several CPUs have added a page at once.
  ///
  /// - Returns: its frame; `nil` if there is none.
  mutating func takeUnused() -> PageFrame? {
    var next = partial
    while let page = next {
      if page.pointee.used == 0, let frame = page.pointee.frame {
        remove(page)
        frameCount &-= 1
        return frame
      }
      next = page.pointee.next
    }
    return nil
  }

  /// Adds a page all of whose records are free.
  mutating func addNew(_ page: UnsafeMutablePointer<RecordPage>) {
    frameCount &+= 1
    add(page)
  }

  private mutating func add(_ page: UnsafeMutablePointer<RecordPage>) {
    page.pointee.previous = nil
    page.pointee.next = partial
    partial?.pointee.previous = page
    partial = page
  }

  private mutating func remove(_ page: UnsafeMutablePointer<RecordPage>) {
    page.pointee.next?.pointee.previous = page.pointee.previous
    if let previous = page.pointee.previous {
      previous.pointee.next = page.pointee.next
    } else {
      partial = page.pointee.next
    }
    page.pointee.next = nil
    page.pointee.previous = nil
  }
}
