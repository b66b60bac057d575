// Counts of forks and of overflows; updated with the lock of the process table held.

import KernelStacks

/// The reason why a fork gave no child that ran.
public enum ForkFailureReason: Equatable, Sendable, TextDescribable {
  /// The fork itself failed.
  case fork(ForkError)
  /// The fork succeeded, but a page that the child wrote to could not be copied.
  case copyOnWrite(FrameSourceError)

  /// Writes the reason in one line.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    switch self {
    case .fork(let error): error.write(to: &sink)
    case .copyOnWrite(let error): error.write(to: &sink)
    }
  }
}

/// Counts of forks and overflows since ``Processes/resetFigures()``.
public struct ForkFigures: Sendable {
  /// The number of forks tried.
  public internal(set) var attempted = 0
  /// The number of children that ran until they held.
  public internal(set) var succeeded = 0
  /// The most frames that one fork took, up to the point where its child held.
  public internal(set) var largestFramesPerFork = 0
  /// The first failure.
  public internal(set) var firstFailure: ForkFailureReason?
  /// The number of processes ended for an overflow of their kernel stacks.
  public internal(set) var overflowed = 0
  /// The last child of a fork, and the free frames before that fork.
  var lastChild: UInt16 = 0
  var freeBeforeLastFork = 0

  init() {}
}

extension Processes {
  /// The counts of forks.
  public var figures: ForkFigures { state.pointee.figures }

  /// Resets the counts.
  public borrowing func resetFigures() {
    locked { state.pointee.figures = ForkFigures() }
  }

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

  /// Counts a process that now holds; if it is the last fork's child, the frames of that fork are all taken by now.
  ///
  /// The lock is held.
  borrowing func noteHolding(_ task: TaskPointer) {
    state.pointee.figures.succeeded += 1
    guard task.pointee.processID == state.pointee.figures.lastChild else { return }
    let taken = state.pointee.figures.freeBeforeLastFork - frames.freeFrames
    if taken > state.pointee.figures.largestFramesPerFork { state.pointee.figures.largestFramesPerFork = taken }
    state.pointee.figures.lastChild = 0
  }
}
