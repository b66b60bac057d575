// Tells a guest that is hung from one that only gets little of the processors.
//
//   what is looked at, once a second            hung if, since its last line,
//   ------------------------------------------  ----------------------------------------------------------------
//   processor time of the guest's process       it has used so much of it (it goes round in circles)
//   which of its threads wanted a processor     none did, so many times in a row (it waits for what never comes)
//
// Seconds are counted nowhere: on a busy machine the same guest needs more of them.

#if Tools
  import Foundation
  import Synchronization

  /// How long a guest may go on without progress.
  public struct HangLimits: Sendable {
    /// How much processor time a guest may use without a line; for each of its CPUs, if they run at the same time.
    public var silence = Duration.seconds(120)
    /// How many times in a row a guest that has written no line may be found asleep.
    public var looksAsleep = 60
    /// How much processor time a guest may use altogether, whatever it writes; `nil` for as much as it likes.
    public var total: Duration?

    /// The limits that are right for a guest of any scenario.
    public init() {}
  }

  /// Why a guest was taken for hung.
  public enum Hang: Sendable, CustomStringConvertible {
    /// It has used so much processor time without a line.
    case silent(Duration)
    /// It has been found asleep so many times in a row, and has written no line meanwhile.
    case asleep(looks: Int)
    /// It has used so much processor time, and has not ended.
    case endless(Duration)

    /// What the guest did, in words that follow its name.
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

  /// Looks at a running guest.
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
