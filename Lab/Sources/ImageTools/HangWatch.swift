// Detection of hung guests, as opposed to guests that get little processor time.
//
//   what is checked, once a second              hung if, since its last line or in total,
//   ------------------------------------------  ----------------------------------------------------------------
//   processor time of the guest's process       it has used a given amount of it (an endless loop)
//   which of its threads wanted a processor     none did, a given number of times in a row (an endless wait)
//   the number of its lines                     it has written more than any run of its kind (an endless report)
//
// No limit is in seconds of real time, of which the same guest takes more on a busy machine.

import Foundation
import Synchronization

/// The limits of a run without progress.
public struct HangLimits: Sendable {
  /// The processor time that a guest may use without a line; for each of its CPUs, if they run at the same time.
  public var silence = Duration.seconds(120)
  /// The number of consecutive checks at which a guest that has written no line may be asleep.
  public var looksAsleep = 60
  /// The number of lines that a guest may write.
  public var lines = 100_000
  /// The processor time that a guest may use in total; `nil` for no limit.
  public var total: Duration?

  /// Makes limits that suit a guest of any scenario.
  public init() {}
}

/// The reason why a guest counts as hung.
public enum Hang: Sendable, CustomStringConvertible {
  /// It has used this much processor time without a line.
  case silent(Duration)
  /// It was asleep at this many consecutive checks, and wrote no line meanwhile.
  case asleep(looks: Int)
  /// It has used this much processor time, and has not ended.
  case endless(Duration)
  /// It has written more than this many lines.
  case talkative(lines: Int)

  /// The reason in words that follow the guest's name.
  public var description: String {
    switch self {
    case .silent(let time): "wrote no line in \(seconds(time)) s of processor time"
    case .asleep(let looks): "wrote no line and was asleep \(looks) times in a row, a second apart"
    case .endless(let time): "did not end in \(seconds(time)) s of processor time"
    case .talkative(let lines): "wrote more than \(lines) lines"
    }
  }

  private func seconds(_ time: Duration) -> String { (time / .seconds(1)).formatted() }
}

/// The number of lines that a guest has written.
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

  /// Waits until the guest is hung, and returns the reason; to be cancelled when the guest has ended.
  func awaitHang() async throws -> Hang {
    let clock = ContinuousClock()
    var last: (use: ProcessorUse, time: ContinuousClock.Instant)?
    var progress = GuestProgress(limits)
    while true {
      try await Task.sleep(for: .seconds(1))
      let (now, seen) = (clock.now, lines.value)
      guard let use = ProcessorUse(of: process) else { continue }
      let isAsleep = last.map { use.isAsleep(since: $0.use, $0.time.duration(to: now)) } ?? false
      last = (use, now)
      if let hang = progress.look(lines: seen, used: use.used, isAsleep: isAsleep) { return hang }
    }
  }
}

/// The progress of a guest, check by check.
struct GuestProgress {
  private let limits: HangLimits
  private var (lines, usedAtLine, looksAsleep) = (0, Duration.zero, 0)

  /// Makes the progress of a guest that has just started.
  init(_ limits: HangLimits) { self.limits = limits }

  /// Records a check.
  ///
  /// - Parameters:
  ///   - lines: the number of lines that the guest has written.
  ///   - used: its processor time so far.
  ///   - isAsleep: whether no thread of it has wanted a processor since the last check.
  /// - Returns: the reason why it counts as hung, or `nil`.
  mutating func look(lines: Int, used: Duration, isAsleep: Bool) -> Hang? {
    if lines != self.lines { (self.lines, usedAtLine, looksAsleep) = (lines, used, 0) }
    looksAsleep = isAsleep ? looksAsleep + 1 : 0
    if lines > limits.lines { return .talkative(lines: limits.lines) }
    if let total = limits.total, used >= total { return .endless(total) }
    if used - usedAtLine >= limits.silence { return .silent(limits.silence) }
    if looksAsleep >= limits.looksAsleep { return .asleep(looks: looksAsleep) }
    return nil
  }
}
