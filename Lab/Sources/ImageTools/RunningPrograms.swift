// The count of programs that this process waits for, which must not outlive it.

import Synchronization

/// The programs that ``Command`` and ``Guest`` have started and that are still running.
public enum RunningPrograms {
  private static let running = Atomic<Int>(0)

  /// Their number.
  public static var count: Int { running.load(ordering: .acquiring) }

  /// Counts a program while `body` waits for it.
  static func counting<Result>(_ body: () async throws -> Result) async rethrows -> Result {
    running.add(1, ordering: .acquiringAndReleasing)
    defer { running.subtract(1, ordering: .acquiringAndReleasing) }
    return try await body()
  }
}
