// The number of programs that this process waits for, and that must not outlive it.

#if Tools
  import Synchronization

  /// The programs that ``Command`` and ``Guest`` have started and that have not ended.
  public enum RunningPrograms {
    private static let running = Atomic<Int>(0)

    /// Their number.
    public static var count: Int { running.load(ordering: .acquiring) }

    /// Counts a program for as long as `body` waits for it.
    static func counting<Result>(_ body: () async throws -> Result) async rethrows -> Result {
      running.add(1, ordering: .acquiringAndReleasing)
      defer { running.subtract(1, ordering: .acquiringAndReleasing) }
      return try await body()
    }
  }
#endif
