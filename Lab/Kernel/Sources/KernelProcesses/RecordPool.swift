// Task records packed into page frames; a frame without records is freed at once. Used with the process table's lock held.
//
//   frame:  | record 0 | record 1 | … | last record | unused | slab word |
//           0                                                4072        4096
//
// Eight processes or ten kernel threads share a frame. Frames with room are in a doubly linked list. An empty frame is freed at
// once, so that the count of free frames shows exactly whether a record has leaked.

import KernelStacks

/// A record in a ``RecordPool``.
protocol PooledRecord: ~Copyable {
  /// The distance between two records in bytes, a multiple of 16.
  static var stride: Int { get }
  /// The number of records in a frame, at most 16.
  static var countPerFrame: Int { get }
  /// Makes a record in its initial state.
  init()
  /// The physical address of the record.
  var physicalAddress: PhysicalAddress { get set }
}

/// The pool's data at the end of each of its frames.
struct RecordSlab {
  /// Bit n is set while record n is in use.
  var used: UInt16 = 0
  /// The physical address of the next frame with room; 0 at the end.
  var next: UInt = 0
  /// The physical address of the previous frame with room; 0 at the beginning.
  var previous: UInt = 0
}

/// A pool of records.
///
/// The lock of the process table is held for all operations.
struct RecordPool<Record: PooledRecord & ~Copyable> {
  /// The physical address of the first frame with room; 0 if there is none.
  var firstWithRoom: UInt = 0

  static var slabOffset: Int { 4072 }
  private static var allUsed: UInt16 { UInt16(truncatingIfNeeded: 1 << Record.countPerFrame - 1) }

  private func slab<M: Machine>(_ address: UInt, _ machine: M) -> UnsafeMutablePointer<RecordSlab> {
    (machine.pointer(to: PhysicalAddress(address)) + Self.slabOffset).assumingMemoryBound(to: RecordSlab.self)
  }

  /// Allocates a record in its initial state.
  mutating func allocate<M: Machine, Frames: FrameSource & ~Copyable>(
    machine: M, frames: borrowing Frames
  ) throws(FrameSourceError) -> UnsafeMutablePointer<Record> {
    if firstWithRoom == 0 {
      let frame = try frames.allocate(FrameRequest(purpose: .taskRecord, cleared: true))
      firstWithRoom = frame.physicalAddress.rawValue
      slab(firstWithRoom, machine).initialize(to: RecordSlab())
    }
    let frame = firstWithRoom
    let slab = slab(frame, machine)
    let index = (~slab.pointee.used).trailingZeroBitCount
    slab.pointee.used |= 1 << index
    if slab.pointee.used == Self.allUsed { unlink(frame, machine) }
    let address = PhysicalAddress(frame) + index * Record.stride
    let record = machine.pointer(to: address).assumingMemoryBound(to: Record.self)
    record.initialize(to: Record())
    record.pointee.physicalAddress = address
    return record
  }

  /// Frees a record; its stack has been freed.
  mutating func free<M: Machine, Frames: FrameSource & ~Copyable>(
    _ record: UnsafeMutablePointer<Record>, machine: M, frames: borrowing Frames
  ) {
    let address = record.pointee.physicalAddress.rawValue
    record.deinitialize(count: 1)
    let frame = address & ~0xfff
    let slab = slab(frame, machine)
    if slab.pointee.used == Self.allUsed { link(frame, machine) }
    slab.pointee.used &= ~(1 << UInt16((address & 0xfff) / UInt(Record.stride)))
    if slab.pointee.used == 0 {
      unlink(frame, machine)
      returnFrame(PhysicalAddress(frame).frame, to: frames)
    }
  }

  private mutating func link<M: Machine>(_ frame: UInt, _ machine: M) {
    let slab = slab(frame, machine)
    slab.pointee.previous = 0
    slab.pointee.next = firstWithRoom
    if firstWithRoom != 0 { self.slab(firstWithRoom, machine).pointee.previous = frame }
    firstWithRoom = frame
  }

  private mutating func unlink<M: Machine>(_ frame: UInt, _ machine: M) {
    let slab = slab(frame, machine)
    let (next, previous) = (slab.pointee.next, slab.pointee.previous)
    if next != 0 { self.slab(next, machine).pointee.previous = previous }
    if previous != 0 {
      self.slab(previous, machine).pointee.next = next
    } else {
      firstWithRoom = next
    }
  }
}
