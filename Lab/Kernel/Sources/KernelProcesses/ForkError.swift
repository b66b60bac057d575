// The errors of fork and of creating the first process, and the results of user faults.

import KernelStacks

/// An error of a fork, or of the first process's creation: the step that failed.
///
/// When it is thrown, all partial work has been undone.
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
  /// The image has a segment outside the user half, unaligned, or overlapping another.
  case badImage(VirtualAddress)

  /// The state of the frame source when it refused, if that was the cause.
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

/// The kind of a process's access.
public enum UserAccess: UInt8, Sendable {
  /// Load.
  case read
  /// Store.
  case write
  /// Instruction fetch.
  case execute
}

/// The result of handling an abort at EL0, or an access on a process's behalf.
public enum FaultResolution: Equatable, Sendable {
  /// The access can be repeated.
  case resolved
  /// The process has no right to the access.
  case violation
  /// The page has to be copied, and there is no frame for the copy.
  case outOfMemory(FrameSourceError)
}
