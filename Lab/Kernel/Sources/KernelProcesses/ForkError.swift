// Why there is no new process: the step that failed, and what it was refused.

import KernelStacks

/// What can go wrong with a fork, or with the first process.
///
/// Everything half-made has been undone when one is thrown.
public enum ForkError: Error, Equatable, TextDescribable {
  /// All process numbers are in use.
  case tooManyProcesses(limit: Int)
  /// There was no memory for the task record.
  case taskRecord(FrameSourceError)
  /// There was no kernel stack.
  case stack(ThreadStackError)
  /// There was no memory for the translation tables.
  case addressSpace(FrameSourceError)
  /// There was no memory for the program's own pages.
  case userMemory(FrameSourceError)
  /// The image has a segment outside the user's half, unaligned, or over another.
  case badImage(VirtualAddress)

  /// What the frame source had when it refused, if that was the reason.
  public var refusal: FrameRefusal? {
    switch self {
    case .taskRecord(.refused(let refusal)), .addressSpace(.refused(let refusal)),
      .userMemory(.refused(let refusal)), .stack(.frames(.refused(let refusal))),
      .stack(.addressSpace(.frames(.refused(let refusal)))):
      refusal
    default: nil
    }
  }

  /// Writes the error in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .tooManyProcesses(let limit):
      sink.write("all ")
      sink.write(limit)
      sink.write(" process numbers are in use")
    case .taskRecord(let error), .addressSpace(let error), .userMemory(let error): error.write(to: &sink)
    case .stack(let error): error.write(to: &sink)
    case .badImage(let address):
      sink.write("the program's segment at ")
      sink.write(hex: address.rawValue)
      sink.write(" is unaligned, overlaps another, or lies outside the user's addresses")
    }
  }
}

#if !hasFeature(Embedded)
  extension ForkError: CustomStringConvertible {}
#endif

/// What a process wants of an address.
public enum UserAccess: UInt8, Sendable {
  /// Load.
  case read
  /// Store.
  case write
  /// Instruction fetch.
  case execute
}

/// What became of an abort at EL0, or of an access on a process's behalf.
public enum FaultResolution: Equatable, Sendable {
  /// The access can be repeated.
  case resolved
  /// The process has no right to it.
  case violation
  /// A page would have to be copied, and there is no frame for the copy.
  case outOfMemory(FrameSourceError)
}
