// The output of verdicts.

import FailureReports
import Foundation

enum DoctorOutput {
  /// Refuses an output that would replace a log.
  static func check(_ path: String?, inputs: [String]) throws {
    guard let path, path != "-" else { return }
    let contents = FileManager.default.contents(atPath: path) ?? Data()
    let isResult = contents.isEmpty || contents.first == UInt8(ascii: "[") || contents.starts(with: "# ".utf8)
    guard isResult, !inputs.contains(path) else {
      throw CommandError("\(path) exists and is no result of this command: it is not replaced")
    }
    try ResultFile.prepare(path)
  }

  /// Writes verdicts to the named files, and as text to standard output unless another form goes there.
  static func write(
    _ results: [(name: String, report: FileReport)], json: String?, metrics: String?
  ) throws {
    if let json { try write(DiagnosisJSON.text(results), to: json) }
    if let metrics {
      let states = results.compactMap { result in
        result.report.lastState.map { (name: result.name, state: $0) }
      }
      try write(MetricsText.text(states), to: metrics)
    }
    guard json != "-", metrics != "-" else { return }
    for (index, result) in results.enumerated() {
      if index > 0 { Terminal.line() }
      Terminal.write(DiagnosisText.text(result.report, name: result.name))
    }
  }

  /// Writes a text to a file or, for `-`, to standard output.
  static func write(_ text: String, to path: String) throws {
    if path == "-" { Terminal.write(text) } else { try ResultFile.write(text: text, to: path) }
  }

  /// Whether a file's failure has a verdict, or is a reading.
  static func hasVerdict(_ report: FileReport) -> Bool {
    report.failures.isEmpty ? !report.snapshots.isEmpty : report.failures.contains(where: \.hasVerdict)
  }
}
