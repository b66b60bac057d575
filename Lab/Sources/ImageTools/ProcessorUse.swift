// The processor time that a program has used or waited for: measures of its progress that other programs do not influence.

import Foundation

/// The processor time of a process.
struct ProcessorUse {
  /// The time that its threads have run in total.
  private(set) var used: Duration
  /// The time that each thread has run or waited for a processor.
  ///
  /// Empty if the system does not report it.
  private var wanted: [String: Duration] = [:]
  private var waitsForDisk = false

  /// Whether the process was asleep most of the time since an earlier reading: each thread has wanted a processor for less
  /// than half of it.
  ///
  /// Timers wake an idle process from time to time.
  func isAsleep(since earlier: Self, _ time: Duration) -> Bool {
    guard !wanted.isEmpty, !waitsForDisk else { return false }
    return wanted.allSatisfy { thread, total in (total - (earlier.wanted[thread] ?? .zero)) * 2 < time }
  }

  /// Reads the use of a process so far; `nil` if there is no such process, or the system does not report it.
  init?(of process: pid_t) {
    #if os(Linux)
      guard let times = Self.fields(ofStatus: "/proc/\(process)/stat"), times.count > 12,
        let user = Int64(times[11]), let system = Int64(times[12])
      else { return nil }
      used = .seconds(user + system) / sysconf(Int32(_SC_CLK_TCK))
      let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
      for thread in threads {
        let folder = "/proc/\(process)/task/\(thread)"
        if Self.fields(ofStatus: "\(folder)/stat")?.first == "D" { waitsForDisk = true }
        // Nanoseconds on a processor, and in a queue for one.
        guard let text = try? String(contentsOfFile: "\(folder)/schedstat", encoding: .utf8) else { continue }
        let times = text.split(whereSeparator: \.isWhitespace).compactMap { Int64($0) }
        if times.count >= 2 { wanted[thread] = .nanoseconds(times[0] + times[1]) }
      }
    #elseif canImport(Darwin)
      var info = rusage_info_v4()
      let status = withUnsafeMutablePointer(to: &info) {
        $0.withMemoryRebound(to: rusage_info_t?.self, capacity: 1) {
          proc_pid_rusage(process, RUSAGE_INFO_V4, $0)
        }
      }
      guard status == 0 else { return nil }
      var unit = mach_timebase_info()
      mach_timebase_info(&unit)
      func duration(_ units: UInt64) -> Duration {
        .nanoseconds(Int64(clamping: units)) * Int(unit.numer) / Int(unit.denom)
      }
      used = duration(info.ri_user_time + info.ri_system_time)
      wanted["all"] = duration(info.ri_runnable_time)
    #else
      return nil
    #endif
  }

  #if os(Linux)
    /// The words of a `stat` file from the state on; the text before it ends with the command's name in parentheses.
    private static func fields(ofStatus path: String) -> [Substring]? {
      guard let text = try? String(contentsOfFile: path, encoding: .utf8), let end = text.lastIndex(of: ")")
      else { return nil }
      return text[text.index(after: end)...].split(whereSeparator: \.isWhitespace)
    }
  #endif
}
