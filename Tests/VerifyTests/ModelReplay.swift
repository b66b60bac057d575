// The replay of traces by the model checker, which accepts or refuses each.

import Foundation

/// The models of the reserve invariant and of free frames, and the program that replays traces with them.
enum ModelReplay {
  /// Whether spin and the C preprocessor that it calls are installed.
  static var isInstalled: Bool { find("spin") && (find("cpp") || find("cc")) }

  static let advice = "spin or a C compiler is missing: `make verify` installs spin"

  /// The reason why the model of the reserve invariant refuses a trace; `nil` if it accepts it.
  ///
  /// - Parameter input: the input that `ReplayInput` makes of a trace.
  /// - Throws: `Failure`, or the error of a file or process.
  static func refusal(of input: String, cpuCount: Int, threadCount: Int, pageCount: Int) throws -> String? {
    try refusal(
      of: input, by: "replay.pml", including: "reserve.pml",
      definitions: [
        "CPUS=\(cpuCount)", "THREADS=\(threadCount)", "PAGES=\(pageCount)", "FRAMES=30000", "OTHERS=0",
      ])
  }

  /// The reason why the model of free frames refuses a run's trace; `nil` if it accepts it.
  static func refusal(of input: String, _ run: ClearingRun) throws -> String? {
    try refusal(
      of: input, by: "clearing-replay.pml", including: "frames.pml",
      definitions: [
        "CPUS=\(ClearingRun.cpuCount)", "FRAMES=\(ClearingRun.frameCount)", "POOL=\(run.zeroedPoolLimit)",
      ])
  }

  private static func refusal(
    of input: String, by replay: String, including model: String, definitions: [String]
  ) throws -> String? {
    let folder = FileManager.default.temporaryDirectory.appending(path: "replay-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let trace = folder.appending(path: "trace")
    try Data(input.utf8).write(to: trace)

    let models = URL(filePath: #filePath).appending(path: "../../../verify").standardizedFileURL
    for name in [model, replay] {
      try FileManager.default.copyItem(at: models.appending(path: name), to: folder.appending(path: name))
    }
    let process = Process()
    // A replay ends with its input; the limit, in seconds of processor time, is for a model that never ends.
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments =
      ["-c", "ulimit -t 120; exec \"$@\"", "sh", "spin", "-T"] + definitions.map { "-D\($0)" } + [replay]
    process.currentDirectoryURL = folder
    process.standardInput = try FileHandle(forReadingFrom: trace)
    let output = folder.appending(path: "output")
    try Data().write(to: output)
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = process.standardOutput
    try process.run()
    process.waitUntilExit()
    let text = String(decoding: try Data(contentsOf: output), as: UTF8.self)
    if text.hasPrefix("accepted: "), process.terminationStatus == 0 { return nil }
    guard text.hasPrefix("rejected: ") || text.contains("assertion violated") else {
      throw Failure(output: text)
    }
    return text
  }

  /// The replay came to no verdict.
  struct Failure: Error {
    var output: String
  }

  private static func find(_ program: String) -> Bool {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    return path.split(separator: ":").contains {
      FileManager.default.isExecutableFile(atPath: "\($0)/\(program)")
    }
  }
}
