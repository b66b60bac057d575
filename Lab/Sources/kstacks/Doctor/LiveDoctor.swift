// The doctor on the machine that it runs on.

import FailureReports
import Foundation

enum LiveDoctor {
  private static let name = "this machine"

  /// Shows this machine once, or the one whose files are copied to the folder `root`.
  static func examine(json: String?, metrics: String?, root: String = "") throws {
    let reading = try take(withLog: root.isEmpty, root: root)
    try write(reading, name: root.isEmpty ? Self.name : root, json: json, metrics: metrics)
    if json != "-" && metrics != "-" { Terminal.write(LiveText.text(reading)) }
  }

  /// Shows this machine again and again, until the command is ended.
  static func watch(every seconds: Double, json: String?, metrics: String?) async throws {
    guard json != "-", metrics != "-" else {
      throw CommandError("--watch writes lines to standard output: name a file")
    }
    var previous: MemoryState?
    while true {
      let reading = try take(withLog: false)
      try write(reading, json: json, metrics: metrics)
      if previous == nil { Terminal.line(LiveText.sentence(reading)) }
      Terminal.line(LiveText.watchLine(reading, time: Self.timeOfDay(), since: previous))
      previous = reading.state
      try await Task.sleep(for: .seconds(seconds))
    }
  }

  private static func take(withLog: Bool, root: String = "") throws -> LiveReading {
    guard let reading = LiveReading.take(SystemFiles(root: root), withLog: withLog) else {
      throw CommandError(
        root.isEmpty
          ? "this machine has no /proc/buddyinfo to read: name a log, or pipe one in"
          : "\(root) has no proc/buddyinfo to read")
    }
    return reading
  }

  private static func write(_ reading: LiveReading, name: String = name, json: String?, metrics: String?) throws
  {
    if let json { try DoctorOutput.write(DiagnosisJSON.text(reading, name: name), to: json) }
    if let metrics {
      let text = MetricsText.text([(name: name, state: reading.state)], stackBytes: reading.stackBytes)
      try DoctorOutput.write(text, to: metrics)
    }
  }

  private static func timeOfDay() -> String {
    var now = time(nil)
    var parts = tm()
    localtime_r(&now, &parts)
    return [parts.tm_hour, parts.tm_min, parts.tm_sec].map { ($0 < 10 ? "0" : "") + "\($0)" }.joined(
      separator: ":")
  }
}
