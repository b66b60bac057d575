// Why a program fails: its exit status, and the words for it.

/// The check of a program that did not hold: its exit status.
public enum FailedCheck: Int, Sendable {
  /// Fork failed where memory was plentiful.
  case forkFailed = 1
  /// A child did not reach the point where it holds, for another reason than memory.
  case childDidNotHold = 2
  /// A child ended with another status than its own number.
  case wrongStatus = 3
  /// The parent's copy of a page has changed.
  case parentPageChanged = 4
  /// There were more or fewer children than forks.
  case wrongChildCount = 5
  /// A child that had to be killed was not, or for another reason.
  case notKilled = 6
  /// After everything had been given back, far fewer forks succeeded than before.
  case notRecovered = 7
  /// The kernel side's own stack did not hold.
  case stackNotUsable = 8
  /// A register that belongs to one process alone holds what it has not put there.
  case foreignRegister = 9

  /// The check in words.
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
