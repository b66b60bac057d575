// Eight task records to a page frame, and no frame kept that holds none.
//
//   frame:  | record 0 | slab word | record 1 | unused | … | record 7 | unused |
//           0         448         512        960     1024              4032   4096
//
// A frame with room is in a doubly linked list. An empty frame goes back to the frame source at once, so that a count
// of free frames tells exactly whether a record has leaked.

import KernelStacks

/// What the pool keeps in each of its frames, behind the first record.
struct TaskSlab {
  /// Bit n is set while record n is in use.
  var used: UInt8 = 0
  /// The next frame with room; 0 at the end.
  var next: UInt = 0
  /// The previous frame with room; 0 at the beginning.
  var previous: UInt = 0
}

/// Hands out task records.
///
/// The lock of the process table is held for all operations.
struct TaskRecordPool {
  /// The first frame with room, by physical address; 0 when there is none.
  var firstWithRoom: UInt = 0

  static var stride: Int { 512 }
  static var slabOffset: Int { 448 }

  private func slab<M: Machine>(_ address: UInt, _ machine: M) -> UnsafeMutablePointer<TaskSlab> {
    (machine.pointer(to: PhysicalAddress(address)) + Self.slabOffset).assumingMemoryBound(to: TaskSlab.self)
  }

  /// Hands out a record in its initial state.
  mutating func allocate<M: Machine, Frames: FrameSource & ~Copyable>(
    machine: M, frames: borrowing Frames
  ) throws(FrameSourceError) -> TaskPointer {
    if firstWithRoom == 0 {
      let frame = try frames.allocate(FrameRequest(purpose: .taskRecord, cleared: true))
      firstWithRoom = frame.physicalAddress.rawValue
      slab(firstWithRoom, machine).initialize(to: TaskSlab())
    }
    let frame = firstWithRoom
    let slab = slab(frame, machine)
    let index = (~slab.pointee.used).trailingZeroBitCount
    slab.pointee.used |= 1 << index
    if slab.pointee.used == 0xff { unlink(frame, machine) }
    let address = PhysicalAddress(frame) + index * Self.stride
    let record = machine.pointer(to: address).assumingMemoryBound(to: TaskRecord.self)
    record.initialize(to: TaskRecord())
    record.pointee.physicalAddress = address
    return record
  }

  /// Takes a record back; its stack has been freed.
  mutating func free<M: Machine, Frames: FrameSource & ~Copyable>(
    _ record: TaskPointer, machine: M, frames: borrowing Frames
  ) {
    let address = record.pointee.physicalAddress.rawValue
    record.deinitialize(count: 1)
    let frame = address & ~0xfff
    let slab = slab(frame, machine)
    if slab.pointee.used == 0xff { link(frame, machine) }
    slab.pointee.used &= ~(1 << UInt8((address & 0xfff) / UInt(Self.stride)))
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

/// Gives a frame back that was handed out by the same source: a refusal means that records are damaged.
func returnFrame<Frames: FrameSource & ~Copyable>(
  _ frame: PageFrame, order: Int = 0, to frames: borrowing Frames
) {
  do {
    try frames.free(frame, order: order)
  } catch {
    fatalError("a frame that was handed out is not taken back")
  }
}
