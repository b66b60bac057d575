// Records of tasks packed into page frames, and no frame kept that holds none.
//
//   frame:  | record 0 | record 1 | … | last record | unused | slab word |
//           0                                                4072        4096
//
// Eight processes or ten threads of the kernel share a frame. A frame with room is in a doubly linked list. An empty frame
// goes back to the frame source at once, so that a count of free frames tells exactly whether a record has leaked.

import KernelStacks

/// A record that a ``RecordPool`` hands out.
protocol PooledRecord: ~Copyable {
  /// How far apart two records lie, a multiple of 16.
  static var stride: Int { get }
  /// How many records share a frame, at most 16.
  static var countPerFrame: Int { get }
  /// A record in its initial state.
  init()
  /// Where the record lies.
  var physicalAddress: PhysicalAddress { get set }
}

/// What the pool keeps at the end of each of its frames.
struct RecordSlab {
  /// Bit n is set while record n is in use.
  var used: UInt16 = 0
  /// The next frame with room; 0 at the end.
  var next: UInt = 0
  /// The previous frame with room; 0 at the beginning.
  var previous: UInt = 0
}

/// Hands out records.
///
/// The lock of the process table is held for all operations.
struct RecordPool<Record: PooledRecord & ~Copyable> {
  /// The first frame with room, by physical address; 0 when there is none.
  var firstWithRoom: UInt = 0

  static var slabOffset: Int { 4072 }
  private static var allUsed: UInt16 { UInt16(truncatingIfNeeded: 1 << Record.countPerFrame - 1) }

  private func slab<M: Machine>(_ address: UInt, _ machine: M) -> UnsafeMutablePointer<RecordSlab> {
    (machine.pointer(to: PhysicalAddress(address)) + Self.slabOffset).assumingMemoryBound(to: RecordSlab.self)
  }

  /// Hands out a record in its initial state.
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

  /// Takes a record back; its stack has been freed.
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
