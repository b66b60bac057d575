// kstacks doctor: why a fork failed, from a log or on this machine.

import ArgumentParser
import FailureReports
import Foundation

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Say why a fork failed, from a kernel's log or on this machine.",
    discussion: """
      Reads page allocation failures, out-of-memory reports, limits, overflows of kernel stacks, and the tables of \
      /proc, however they were pasted. Without files it reads what is piped in; without that, on Linux, the state and \
      the log of this machine.

      Exit codes: 0 a verdict, 1 no verdict, 2 an input that is unusable.
      """)

  @Argument(help: "Logs; - is standard input.") var files: [String] = []
  @Option(help: "Write the verdicts as JSON to this file; - is standard output.") var json: String?
  @Option(help: "Write gauges for Prometheus (OpenMetrics text) to this file; - is standard output.")
  var metrics: String?
  @Option(help: "Look at a copy of a machine's /proc, /sys and /boot in this folder.") var root: String?
  @Option(help: "Show this machine again and again, after so many seconds each time.") var watch: Double?

  func run() async throws {
    for output in [json, metrics] { try DoctorOutput.check(output, inputs: files) }
    if let root {
      guard files.isEmpty, watch == nil else { throw CommandError("--root looks at one machine, once") }
      return try LiveDoctor.examine(json: json, metrics: metrics, root: root)
    }
    if let watch {
      guard files.isEmpty else { throw CommandError("--watch looks at this machine, not at files") }
      guard watch >= 0.1, watch <= 86_400 else { throw CommandError("--watch takes 0.1 to 86400 seconds") }
      return try await LiveDoctor.watch(every: watch, json: json, metrics: metrics)
    }
    if files.isEmpty && !Self.hasPipedInput { return try LiveDoctor.examine(json: json, metrics: metrics) }
    var results: [(name: String, report: FileReport)] = []
    var hasProblem = false
    for file in files.isEmpty ? ["-"] : files {
      let name = file == "-" ? "standard input" : file
      do throws(InputProblem) {
        let report =
          try file == "-" ? LineReader.examine(descriptor: STDIN_FILENO) : LineReader.examine(path: file)
        results.append((name, report))
      } catch {
        // An empty pipe is what schedulers and shells give to commands without input.
        if files.isEmpty && error == .empty { return try LiveDoctor.examine(json: json, metrics: metrics) }
        hasProblem = true
        Terminal.errorLine("kstacks: \(name) \(error)")
      }
    }
    try DoctorOutput.write(results, json: json, metrics: metrics)
    if hasProblem { throw ExitCode(2) }
    if !results.contains(where: { DoctorOutput.hasVerdict($0.report) }) { throw ExitCode(1) }
  }

  /// Whether a file or a pipe, not a terminal, is standard input.
  private static var hasPipedInput: Bool {
    var status = stat()
    guard fstat(STDIN_FILENO, &status) == 0 else { return false }
    let kind = status.st_mode & S_IFMT
    return kind == S_IFREG || kind == S_IFIFO || kind == S_IFSOCK
  }
}
