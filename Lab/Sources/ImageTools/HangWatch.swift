// Distinguishes a guest that is hung from one that gets little processor time.
//
//   what is checked, once a second              hung if, since its last line,
//   ------------------------------------------  ----------------------------------------------------------------
//   processor time of the guest's process       it has used a given amount of it (an endless loop)
//   which of its threads wanted a processor     none did, a given number of times in a row (an endless wait)
//
// No limit is in seconds: on a busy machine the same guest needs more of them.

#if Tools
  import Foundation
  import Synchronization

  /// How long a guest may run without progress.
  public struct HangLimits: Sendable {
    /// The processor time that a guest may use without a line; for each of its CPUs, if they run at the same time.
    public var silence = Duration.seconds(120)
    /// The number of times in a row that a guest which has written no line may be found asleep.
    public var looksAsleep = 60
    /// The processor time that a guest may use in total; `nil` for no limit.
    public var total: Duration?

    /// Limits that suit a guest of any scenario.
    public init() {}
  }

  /// Why a guest counts as hung.
  public enum Hang: Sendable, CustomStringConvertible {
    /// It has used this much processor time without a line.
    case silent(Duration)
    /// It has been found asleep this many times in a row, and has written no line meanwhile.
    case asleep(looks: Int)
    /// It has used this much processor time, and has not ended.
    case endless(Duration)

    /// The reason in words that follow the guest's name.
    public var description: String {
      switch self {
      case .silent(let time): "wrote no line in \(seconds(time)) s of processor time"
      case .asleep(let looks): "wrote no line and was asleep \(looks) times in a row, a second apart"
      case .endless(let time): "did not end in \(seconds(time)) s of processor time"
      }
    }

    private func seconds(_ time: Duration) -> String { (time / .seconds(1)).formatted() }
  }

  /// The lines that a guest has written, counted.
  final class LineCount: Sendable {
    private let count = Atomic<Int>(0)

    var value: Int { count.load(ordering: .relaxed) }

    func add() { count.add(1, ordering: .relaxed) }
  }

  /// Watches a running guest.
  struct HangWatch {
    let process: pid_t
    let limits: HangLimits
    let lines: LineCount

    /// Waits until the guest is hung; the task is cancelled when it has ended.
    func awaitHang() async throws -> Hang {
      let clock = ContinuousClock()
      var last: (use: ProcessorUse, time: ContinuousClock.Instant)?
      var (lineCount, usedAtLine, looksAsleep) = (0, Duration.zero, 0)
      while true {
        try await Task.sleep(for: .seconds(1))
        let (now, seen) = (clock.now, lines.value)
        guard let use = ProcessorUse(of: process) else { continue }
        if seen != lineCount { (lineCount, usedAtLine, looksAsleep) = (seen, use.used, 0) }
        if let last {
          looksAsleep = use.isAsleep(since: last.use, last.time.duration(to: now)) ? looksAsleep + 1 : 0
        }
        last = (use, now)
        if let total = limits.total, use.used >= total { return .endless(total) }
        if use.used - usedAtLine >= limits.silence { return .silent(limits.silence) }
        if looksAsleep >= limits.looksAsleep { return .asleep(looks: looksAsleep) }
      }
    }
  }
#endif
