// The result of the system call `wait`.

/// The end of a child, as its parent learns of it.
public struct EndedChild: Sendable {
  /// The child's process number.
  public var processID: Int
  /// The status it passed to `exit`; 0 unless it exited.
  public var status: Int
  /// How it ended.
  public var end: EndOfProcess

  /// Makes the description of a child's end.
  public init(processID: Int, status: Int, end: EndOfProcess) {
    self.processID = processID
    self.status = status
    self.end = end
  }
}
