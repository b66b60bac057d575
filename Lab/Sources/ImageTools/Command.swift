// Runs another program to its end.

import Foundation
import Subprocess

/// The exit code and output of a program.
public struct CommandResult: Sendable {
  /// The exit code, or 128 plus the signal's number if a signal ended it.
  public var exitCode: Int
  /// Its standard output.
  public var output: String
  /// Its standard error.
  public var errors: String
}

/// A program and its arguments.
public struct Command: Sendable {
  /// A name, to be found in PATH, or a path.
  public var program: String
  /// The arguments.
  public var arguments: [String]
  /// Its working directory; `nil` for the current one.
  public var directory: String?

  /// Makes a command; it does not run yet.
  public init(_ program: String, _ arguments: [String] = [], in directory: String? = nil) {
    self.program = program
    self.arguments = arguments
    self.directory = directory
  }

  var executable: Executable { program.contains("/") ? .path(.init(program)) : .name(program) }

  /// Runs the program with an empty standard input and waits for it.
  ///
  /// - Throws: an error if it cannot be started. A failing exit code is no error here.
  public func run() async throws -> CommandResult {
    let result = try await RunningPrograms.counting {
      try await Subprocess.run(
        executable, arguments: Arguments(arguments), workingDirectory: directory.map { .init($0) },
        output: .string(limit: 1 << 26), error: .string(limit: 1 << 26))
    }
    return CommandResult(
      exitCode: result.terminationStatus.shellCode, output: result.standardOutput,
      errors: result.standardError)
  }
}

extension TerminationStatus {
  /// The exit code as a shell has it: 128 plus the signal's number if a signal ended the program.
  var shellCode: Int {
    switch self {
    case .exited(let code): Int(code)
    case .signaled(let signal): 128 + Int(signal)
    }
  }
}
