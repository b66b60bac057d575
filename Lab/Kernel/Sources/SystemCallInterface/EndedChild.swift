// What `wait` tells a process.

/// A child's end, as its parent learns of it.
public struct EndedChild: Sendable {
  /// The child's number.
  public var processID: Int
  /// What it gave to `exit`; 0 unless it exited.
  public var status: Int
  /// How it ended.
  public var end: EndOfProcess

  /// A child's end.
  public init(processID: Int, status: Int, end: EndOfProcess) {
    self.processID = processID
    self.status = status
    self.end = end
  }
}
