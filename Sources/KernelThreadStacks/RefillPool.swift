// The refill pool: zeroed frames that refill reserves when the frame source refuses (see StackReserve.swift).
//
// Who may touch it, and when: the holder of the allocator's lock, on any CPU. Frames are asked for, and given back, without the
// lock: put() refuses a frame that has become too much meanwhile.

import KernelMachine

/// The refill pool: a view of the allocator's memory.
struct RefillPool {
  /// What changes of it.
  struct State {
    fileprivate var count = 0

    init() {}
  }

  private let control: UnsafeMutablePointer<StackControl>

  @inline(__always) init(_ control: UnsafeMutablePointer<StackControl>) { self.control = control }

  /// How many frames there are.
  @inline(__always) var count: Int { control.shared.pointee.refillPool.count }

  /// A frame of the refill pool.
  ///
  /// Not checked.
  subscript(index: Int) -> ReservedFrame { frames[index] }

  /// Whether it needs no more frames for now.
  @inline(__always) func isFull(_ held: borrowing LockHeld) -> Bool {
    count >= control.pointee.layout.refillPoolLimit
  }

  /// Adds a zeroed frame, and tells whether there was room.
  @inline(__always) func put(_ frame: ReservedFrame, _ held: borrowing LockHeld) -> Bool {
    if isFull(held) { return false }
    frames[count] = frame
    control.shared.pointee.refillPool.count &+= 1
    return true
  }

  /// Takes a frame, if there is one.
  @inline(__always) func take(_ held: borrowing LockHeld) -> ReservedFrame? {
    if count == 0 { return nil }
    control.shared.pointee.refillPool.count &-= 1
    return frames[count]
  }

  @inline(__always) private var frames: UnsafeMutablePointer<ReservedFrame> {
    (UnsafeMutableRawPointer(control) + control.pointee.layout.refillPoolOffset)
      .assumingMemoryBound(to: ReservedFrame.self)
  }
}
