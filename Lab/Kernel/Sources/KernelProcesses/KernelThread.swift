// A thread of the kernel itself: its record, which it owns its stack by.
//
//   offset   0  the machine's own: registers of a thread that does not run (352 bytes; assembly may rely on the 0)
//          352  place, number, state, registry, list, stack
//        ≤ 400  end of the record; ten share a page frame

import KernelStacks

/// Where a thread of the kernel stands.
public enum KernelThreadState: UInt8, Sendable {
  /// Made; it has not begun.
  case created
  /// Runs, or could.
  case awake
  /// Until somebody wakes it.
  case asleep
}

/// A thread of the kernel.
public struct KernelThread: ~Copyable {
  /// Room for the machine's own, at offset 0 of the record: 352 bytes.
  public var context = InlineArray<44, UInt64>(repeating: 0)
  private var frameNumber: UInt32 = 0
  /// Where in the frame it lies, in units of 16 bytes.
  private var frameOffset: UInt8 = 0
  /// How deep its program has gone from where its stack begins, in units of 128 bytes, rounded down; stops at 255.
  private var depth: UInt8 = 0
  /// How often it has begun or been woken; stops at 255.
  public internal(set) var wakeCount: UInt8 = 0
  /// Where it stands.
  public internal(set) var state = KernelThreadState.created
  /// Its number, from 0 in the order in which threads were made.
  public internal(set) var number: Int32 = 0
  /// What it has taken for itself; given back when it ends.
  public var registry = TaskRegistry()
  /// The thread that was made after it.
  public internal(set) var next: KernelThreadPointer?
  /// The thread that was made before it.
  public internal(set) var previous: KernelThreadPointer?
  /// Its stack; `nil` once it has been freed.
  public var stack: ThreadStack?

  init() {}

  /// Where the record lies.
  public internal(set) var physicalAddress: PhysicalAddress {
    get { PhysicalAddress(UInt(frameNumber) << 12 + UInt(frameOffset) << 4) }
    set {
      frameNumber = UInt32(newValue.rawValue >> 12)
      frameOffset = UInt8(newValue.rawValue >> 4 & 0xff)
    }
  }

  /// How deep its program has gone at least, in bytes from where its stack begins; what it calls comes on top.
  public var deepestByteCount: Int { Int(depth) * 128 }

  /// Notes how deep the program is.
  public mutating func note(byteCount: Int) {
    depth = max(depth, UInt8(clamping: byteCount / 128))
  }
}

/// The record of a thread in its place, where it stays until the thread has ended.
public typealias KernelThreadPointer = UnsafeMutablePointer<KernelThread>

extension KernelThread: PooledRecord {
  static var stride: Int { 400 }
  /// How many records share a frame.
  public static var countPerFrame: Int { 10 }
}

/// Why there is no new thread of the kernel.
///
/// Everything half-made has been undone when one is thrown.
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
