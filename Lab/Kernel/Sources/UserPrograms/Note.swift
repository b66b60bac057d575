// The figures that a program passes to the kernel, for the result of its scenario.

/// The kind of a figure that a program passes with `note`.
public enum Note: Int, Sendable {
  /// The amount of work done.
  case progress = 0
  /// The first failure: all live children are alive together. The kernel takes its figures now.
  case firstFailure = 1
  /// The number of forks tried.
  case forksAttempted = 2
  /// The number of forks whose child ran and held.
  case forksSucceeded = 3
  /// The number of children that ended with the right status.
  case childrenVerified = 4
  /// The number of children killed for lack of memory.
  case childrenOutOfMemory = 5
  /// The number of forks that succeeded after all memory was given back; all their children are alive. The kernel takes its
  /// figures now.
  case forksAfterRecovery = 6
  /// The number of children killed for an overflow of their kernel stacks.
  case childrenOverflowed = 7
}
