// What a program tells the kernel while it runs, for the result of its scenario.

/// What a program tells the kernel with `note`.
public enum Note: Int, Sendable {
  /// So much of the work is done.
  case progress = 0
  /// Something failed for the first time; all that is alive now was alive together. The figures are taken now.
  case firstFailure = 1
  /// How many forks were tried.
  case forksAttempted = 2
  /// How many forks gave a child that ran and held.
  case forksSucceeded = 3
  /// How many children ended with the status that they should.
  case childrenVerified = 4
  /// How many children were killed for want of memory.
  case childrenOutOfMemory = 5
  /// How many forks succeeded after everything had been given back; all their children are alive. The figures are taken now.
  case forksAfterRecovery = 6
  /// How many children were killed because they left their kernel stacks.
  case childrenOverflown = 7
}
