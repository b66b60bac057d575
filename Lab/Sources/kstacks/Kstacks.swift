// The kstacks command.

import ArgumentParser
import Foundation

/// Runs scenarios on the machines and shows their results.
@main struct Kstacks: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kstacks",
    abstract: "Runs kernel-stack scenarios on an arm64 kernel in QEMU or on a simulated machine.",
    discussion: "Without arguments it runs the scenario fragmented-fork with every strategy.",
    version: "0.1.0",
    subcommands: [
      RunCommand.self, ListCommand.self, BenchCommand.self, ReportCommand.self, WatchCommand.self,
      ClaimsCommand.self, DoctorCommand.self, PiCommand.self,
    ],
    defaultSubcommand: RunCommand.self)

  static func main() async {
    let work = Task { try await run() }
    let interruption = Interruption(of: work)
    defer { withExtendedLifetime(interruption) {} }
    do {
      try await work.value
      let lost = Terminal.lostOutputCode.load(ordering: .relaxed)
      if lost != 0 { Foundation.exit(lost) }
    } catch  where work.isCancelled {
      // The interruption caused the failure, and ends the process.
      while true { try? await Task.sleep(for: .seconds(60)) }
    } catch let error as CommandError {
      fail(error.description)
    } catch {
      // Help and version texts are "errors" with an exit code of 0.
      if exitCode(for: error) == .success { exit(withError: error) }
      if let code = error as? ExitCode { exit(withError: code) }
      fail(message(for: error))
    }
  }

  private static func run() async throws {
    var command = try parseAsRoot()
    if var command = command as? any AsyncParsableCommand {
      try await command.run()
    } else {
      try command.run()
    }
  }

  private static func fail(_ message: String) -> Never {
    Terminal.errorLine("kstacks: \(message)")
    exit(withError: ExitCode.failure)
  }
}
