// Standard output, and numbered steps whose progress only a terminal shows.

import Figures
import Foundation
import Synchronization

/// The command's output.
enum Terminal {
  /// Whether standard output is a terminal that understands control sequences.
  static var isInteractive: Bool {
    isatty(STDOUT_FILENO) != 0 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
  }

  /// Whether it shows colours.
  static var hasColour: Bool { isInteractive && ProcessInfo.processInfo.environment["NO_COLOR"] == nil }

  /// Writes a line to standard output, at once.
  static func line(_ text: String = "") { write(text + "\n") }

  /// Writes a line to standard error, at once; failures are ignored.
  static func errorLine(_ text: String) {
    try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
  }

  /// The exit code of the command if its output cannot be written; 0 while it can.
  static let lostOutputCode = Atomic(Int32(0))

  /// Writes to standard output, at once.
  ///
  /// If that fails, the command is interrupted and writes nothing more; without a message if the reader has closed the pipe, as
  /// `head` does.
  static func write(_ text: String) {
    guard lostOutputCode.load(ordering: .relaxed) == 0 else { return }
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    } catch {
      let readerLeft = ResultFile.systemError(error) == EPIPE
      lostOutputCode.store(readerLeft ? 128 + SIGPIPE : 1, ordering: .relaxed)
      if !readerLeft {
        errorLine("kstacks: cannot write to standard output: \(ResultFile.reason(error))")
      }
      kill(getpid(), SIGTERM)
    }
  }
}

/// The steps of a run, each on a line of its own: the step, then its result.
struct Steps: Sendable {
  let total: Int
  let isInteractive: Bool
  /// The live view, if the run is watched.
  let view: LiveView?

  init(total: Int, isInteractive: Bool = Terminal.isInteractive, view: LiveView? = nil) {
    self.total = total
    self.isInteractive = isInteractive
    self.view = view
  }

  /// Begins a step.
  ///
  /// Without a terminal nothing is written before its end.
  func begin(_ number: Int, _ what: String) { rewrite("[\(number)/\(total)] \(what) …") }

  /// Shows the progress of a step.
  func progress(_ number: Int, _ what: String, done: Int, total all: Int, unit: String) {
    rewrite("[\(number)/\(total)] \(what) \(Self.bar(done: done, total: all)) \(unit)")
  }

  /// Ends a step with its result.
  func end(_ number: Int, _ what: String, _ outcome: String) {
    abandon()
    Terminal.line("[\(number)/\(total)] \(what): \(outcome)")
  }

  /// Ends the line of a step that failed.
  func abandon() {
    if let view { return view.clear() }
    if isInteractive { Terminal.write("\r\u{1b}[K") }
  }

  private func rewrite(_ text: String) {
    if let view { return view.draw([text]) }
    guard isInteractive else { return }
    Terminal.write(Self.rewriting(text))
  }

  /// The control text that replaces the line before.
  ///
  /// The line is cut off at the terminal's width: a second line could not be rewritten.
  static func rewriting(_ text: String) -> String { "\r\u{1b}[?7l\(text)\u{1b}[K\u{1b}[?7h" }

  /// A bar of 20 characters and the count, or the count alone if the total is unknown.
  static func bar(done: Int, total: Int) -> String {
    guard total > 0 else { return "… \(grouped(done))" }
    let filled = min(20, max(0, done) * 20 / total)
    return "[" + String(repeating: "#", count: filled) + String(repeating: " ", count: 20 - filled)
      + "] \(grouped(done)) of \(grouped(total))"
  }
}
