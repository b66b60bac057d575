// What is counted of forks and of how processes end.

import KernelStacks

/// Why a fork did not give a child that ran.
public enum ForkFailureReason: Equatable, Sendable, TextDescribable {
  /// Fork itself failed.
  case fork(ForkError)
  /// Fork succeeded, but a page that the child wrote to could not be copied.
  case copyOnWrite(FrameSourceError)

  /// Writes the reason in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .fork(let error): error.write(to: &sink)
    case .copyOnWrite(let error): error.write(to: &sink)
    }
  }
}

/// Counts of forks, and of ends, since ``Processes/resetFigures()``.
public struct ForkFigures: Sendable {
  /// How many forks were tried.
  public internal(set) var attempted = 0
  /// How many children ran and came to hold.
  public internal(set) var succeeded = 0
  /// The largest number of frames that one fork took, its child having run.
  public internal(set) var largestFramesPerFork = 0
  /// What failed first.
  public internal(set) var firstFailure: ForkFailureReason?
  /// How many processes left their kernel stacks, and were ended for it.
  public internal(set) var overflown = 0
  /// The last child that fork made, and the free frames before that fork.
  var lastChild: UInt16 = 0
  var freeBeforeLastFork = 0

  init() {}
}

extension Processes where F: ~Copyable {
  /// The counts of forks.
  public var figures: ForkFigures { state.pointee.figures }

  /// Starts counting anew.
  public borrowing func resetFigures() { state.pointee.figures = ForkFigures() }

  borrowing func noteFork(of child: TaskPointer, freeBefore: Int) {
    locked {
      state.pointee.figures.lastChild = child.pointee.processID
      state.pointee.figures.freeBeforeLastFork = freeBefore
    }
  }

  borrowing func noteFailure(_ reason: ForkFailureReason) {
    locked {
      if state.pointee.figures.firstFailure == nil { state.pointee.figures.firstFailure = reason }
    }
  }

  /// A process holds: if it is the last child made, all that its fork took has been taken.
  ///
  /// The lock is held.
  borrowing func noteHolding(_ task: TaskPointer) {
    state.pointee.figures.succeeded += 1
    guard task.pointee.processID == state.pointee.figures.lastChild else { return }
    let taken = state.pointee.figures.freeBeforeLastFork - stacks.frames.freeFrames
    if taken > state.pointee.figures.largestFramesPerFork { state.pointee.figures.largestFramesPerFork = taken }
    state.pointee.figures.lastChild = 0
  }
}
