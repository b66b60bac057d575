// kstacks doctor: why a fork failed, from a log.

#if Tools
  import ArgumentParser
  import FailureReports
  import Foundation

  struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "doctor", abstract: "Say why a fork failed, from a kernel's log.",
      discussion: """
        Reads page allocation failures, out-of-memory reports, limits, overflows of kernel stacks, and the tables of \
        /proc, however they were pasted. Without files it reads standard input.

        Exit codes: 0 a verdict, 1 no verdict, 2 an input that is unusable.
        """)

    @Argument(help: "Logs; - is standard input.") var files: [String] = []
    @Option(help: "Write the verdicts as JSON to this file; - is standard output.") var json: String?
    @Option(help: "Write gauges for Prometheus (OpenMetrics text) to this file; - is standard output.")
    var metrics: String?

    func run() throws {
      for output in [json, metrics] { try DoctorOutput.check(output, inputs: files) }
      var results: [(name: String, report: FileReport)] = []
      var hasProblem = false
      for file in files.isEmpty ? ["-"] : files {
        let name = file == "-" ? "standard input" : file
        do throws(InputProblem) {
          let report =
            try file == "-" ? LineReader.examine(descriptor: STDIN_FILENO) : LineReader.examine(path: file)
          results.append((name, report))
        } catch {
          hasProblem = true
          Terminal.errorLine("kstacks: \(name) \(error)")
        }
      }
      try DoctorOutput.write(results, json: json, metrics: metrics)
      if hasProblem { throw ExitCode(2) }
      if !results.contains(where: { DoctorOutput.hasVerdict($0.report) }) { throw ExitCode(1) }
    }
  }

  /// Where verdicts go.
  enum DoctorOutput {
    /// Refuses an output that would replace a log.
    static func check(_ path: String?, inputs: [String]) throws {
      guard let path, path != "-" else { return }
      if path.isEmpty { throw CommandError("the file for the results has no name") }
      guard let data = FileManager.default.contents(atPath: path), let first = data.first else {
        return try ResultFile.prepare(path)
      }
      guard inputs.allSatisfy({ $0 != path }), first == UInt8(ascii: "[") || data.starts(with: Data("# ".utf8))
      else {
        throw CommandError("\(path) exists and is no result: it is not replaced")
      }
    }

    /// Writes verdicts to the files that were named; as text to standard output unless something else goes there.
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

    private static func write(_ text: String, to path: String) throws {
      if path == "-" { Terminal.write(text) } else { try ResultFile.write(text: text, to: path) }
    }

    /// Whether a file's failure has a verdict, or is a reading.
    static func hasVerdict(_ report: FileReport) -> Bool {
      report.failures.isEmpty ? !report.snapshots.isEmpty : report.failures.contains(where: \.hasVerdict)
    }
  }
#endif
