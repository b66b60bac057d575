// The record of a kernel thread, which owns the thread's stack.
//
//   offset   0  the machine's own: registers of a thread that does not run (352 bytes; assembly may rely on the 0)
//          352  place, number, state, registry, list, stack
//        ≤ 400  end of the record; ten share a page frame

import KernelStacks

/// The state of a kernel thread.
public enum KernelThreadState: UInt8, Sendable {
  /// Made, and not begun.
  case created
  /// Running or ready.
  case awake
  /// Asleep until it is woken.
  case asleep
}

/// A kernel thread.
public struct KernelThread: ~Copyable {
  /// The machine's part, at offset 0 of the record: 352 bytes.
  public var context = InlineArray<44, UInt64>(repeating: 0)
  private var frameNumber: UInt32 = 0
  /// The offset in the frame, in units of 16 bytes.
  private var frameOffset: UInt8 = 0
  /// The greatest depth of its program below the stack's top, in units of 128 bytes, rounded down, at most 255.
  private var depth: UInt8 = 0
  /// The number of times it was started or woken, at most 255.
  public internal(set) var wakeCount: UInt8 = 0
  /// Its state.
  public internal(set) var state = KernelThreadState.created
  /// Its number, from 0 in the order in which threads were made.
  public internal(set) var number: Int32 = 0
  /// The memory it has taken in its own name, which is given back when it ends.
  public var registry = TaskRegistry()
  /// The next thread, in the order in which they were made.
  public internal(set) var next: KernelThreadPointer?
  /// The previous thread.
  public internal(set) var previous: KernelThreadPointer?
  /// Its stack, or `nil` once that is freed.
  public var stack: ThreadStack?

  init() {}

  /// The physical address of the record.
  public internal(set) var physicalAddress: PhysicalAddress {
    get { PhysicalAddress(UInt(frameNumber) << 12 + UInt(frameOffset) << 4) }
    set {
      frameNumber = UInt32(newValue.rawValue >> 12)
      frameOffset = UInt8(newValue.rawValue >> 4 & 0xff)
    }
  }

  /// A lower bound of its program's greatest depth, in bytes below the stack's top, without the functions that it calls.
  public var deepestByteCount: Int { Int(depth) * 128 }

  /// Records the current depth of the program.
  public mutating func note(byteCount: Int) {
    depth = max(depth, UInt8(clamping: byteCount / 128))
  }
}

/// A pointer to the record of a thread, valid until the thread has ended.
public typealias KernelThreadPointer = UnsafeMutablePointer<KernelThread>

extension KernelThread: PooledRecord {
  static var stride: Int { 400 }
  /// The number of records in a frame.
  public static var countPerFrame: Int { 10 }
}

/// An error of making a kernel thread: the step that failed.
///
/// When it is thrown, all partial work has been undone.
public enum KernelThreadError: Error, Equatable, TextDescribable {
  /// There was no memory for the record.
  case record(FrameSourceError)
  /// There was no stack.
  case stack(ThreadStackError)

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .record(let error): error.write(to: &sink)
    case .stack(let error): error.write(to: &sink)
    }
  }
}

#if !hasFeature(Embedded)
  extension KernelThreadError: CustomStringConvertible {}
#endif
