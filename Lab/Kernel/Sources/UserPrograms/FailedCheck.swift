// The checks of programs, as exit statuses, with their names.

/// The check that failed in a program: its exit status.
public enum FailedCheck: Int, Sendable {
  /// Fork failed where memory was plentiful.
  case forkFailed = 1
  /// A child did not get to hold, for a reason other than memory.
  case childDidNotHold = 2
  /// A child's status is not its own number.
  case wrongStatus = 3
  /// The parent's copy of a page has changed.
  case parentPageChanged = 4
  /// The number of children is not that of forks.
  case wrongChildCount = 5
  /// A child that had to be killed was not, or was for another reason.
  case notKilled = 6
  /// After all memory was given back, far fewer forks succeeded than before.
  case notRecovered = 7
  /// The process's kernel stack was not usable throughout.
  case stackNotUsable = 8
  /// A register of the process's own has a value that it did not write.
  case foreignRegister = 9

  /// The failure in words.
  public var name: StaticString {
    switch self {
    case .forkFailed: "fork failed although memory was free"
    case .childDidNotHold: "a child did not run"
    case .wrongStatus: "a child ended with a wrong status"
    case .parentPageChanged: "the parent's page has changed"
    case .wrongChildCount: "children are missing"
    case .notKilled: "a forbidden access was not stopped"
    case .notRecovered: "far fewer forks succeeded after everything was given back"
    case .stackNotUsable: "the kernel stack was not usable throughout"
    case .foreignRegister: "a register holds another process's value"
    }
  }
}
