// What kernels and loggers put before a message.

import SeededRandom

/// The prefixes of one log.
struct PrefixStyle {
  /// What the kernel, or dmesg, prints.
  enum Stamp: String, CaseIterable {
    case seconds, difference, wallClock, monthOnly, iso, secondsWithDifference
  }

  /// What a logger puts before that.
  enum Logger: String, CaseIterable {
    case none, syslog, syslogWithoutHost, journal, journalISO, openWrt, android, androidBrief, compose,
      dockerJSON
    case journalJSON, facility, priority, desktop
  }

  let stamp: Stamp?
  let logger: Logger
  let hasCallers: Bool
  private let callerWidth: Int

  var name: String {
    "\(stamp?.rawValue ?? "none")\(hasCallers ? "+caller" : "")/\(logger.rawValue)"
  }

  init(hasTimes: Bool, hasCallers: Bool, random: inout SplitMix64) {
    let stamps: [Stamp] = hasCallers ? [.seconds] : Stamp.allCases
    stamp = hasTimes ? random.next(below: 2) == 0 ? .seconds : stamps[random.next(below: stamps.count)] : nil
    let all = Logger.allCases
    logger = random.next(below: 2) == 0 ? .none : all[random.next(below: all.count)]
    self.hasCallers = hasCallers && hasTimes
    callerWidth = random.next(below: 2) == 0 ? 0 : 6
  }

  /// The prefix of a message.
  ///
  /// - Parameters:
  ///   - time: since boot, in microseconds.
  ///   - previous: the time of the message before.
  func prefix(time: Int, since previous: Int, caller: String, isKernel: Bool) -> String {
    guard isKernel else { return "" }
    let text = loggerPrefix(time) + stampPrefix(time, previous)
    if !hasCallers { return text }
    let padding = String(repeating: " ", count: max(0, callerWidth - caller.count))
    return String(text.dropLast()) + "[\(padding)\(caller)] "
  }

  /// The line that a logger makes of a text.
  func line(_ text: String) -> String {
    let start: String
    let end: String
    switch logger {
    case .dockerJSON:
      (start, end) = (#"{"log":""#, #"\n","stream":"stdout","time":"2020-09-30T03:58:46.123456789Z"}"#)
    case .journalJSON:
      (start, end) = (#"{"__REALTIME_TIMESTAMP":"1601438326123456","MESSAGE":""#, #"","PRIORITY":"4"}"#)
    default: return text
    }
    let escaped = text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
    return start + escaped + end
  }

  private func stampPrefix(_ time: Int, _ previous: Int) -> String {
    let seconds = "\(pad(time / 1_000_000, 5)).\(zeros(time % 1_000_000, 6))"
    switch stamp {
    case nil: return ""
    case .seconds: return "[\(seconds)] "
    case .difference: return "[\(pad("+0." + zeros((time - previous) % 1_000_000, 6), 12))] "
    case .wallClock: return "[Wed Sep 30 \(clock(time)) 2020] "
    case .monthOnly: return "[Sep30 \(clock(time).prefix(5))] "
    case .iso: return "2020-09-30T\(clock(time)),\(zeros(time % 1_000_000, 6))+02:00 "
    case .secondsWithDifference:
      return "[\(seconds) <\(pad("0." + zeros((time - previous) % 1_000_000, 6), 12))>] "
    }
  }

  private func loggerPrefix(_ time: Int) -> String {
    let clock = clock(time)
    switch logger {
    case .none, .dockerJSON, .journalJSON: return ""
    case .syslog: return "Sep 30 \(clock) build-7 kernel: "
    case .syslogWithoutHost: return "Sep 30 \(clock) kernel: "
    case .journal: return "Sep 30 \(clock) node3.example.org kernel: "
    case .journalISO: return "2020-09-30T\(clock)+0200 node3 kernel: "
    case .openWrt: return "Wed Sep 30 \(clock) 2020 kern.warn kernel: "
    case .android: return "09-30 \(clock).341     0     0 W         : "
    case .androidBrief: return "W/kernel  (  0): "
    case .compose: return "worker_1  | "
    case .facility: return "kern  :warn  : "
    case .priority: return "<4>"
    case .desktop: return "[\(clock).315][Moby           ][Info   ] "
    }
  }

  private func clock(_ time: Int) -> String {
    let seconds = time / 1_000_000
    return "\(zeros(seconds / 3600 % 24, 2)):\(zeros(seconds / 60 % 60, 2)):\(zeros(seconds % 60, 2))"
  }

  private func zeros(_ value: Int, _ width: Int) -> String {
    let digits = "\(value)"
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }

  private func pad(_ value: Int, _ width: Int) -> String { pad("\(value)", width) }

  private func pad(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
