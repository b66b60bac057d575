// The scripts that tell a hung command from one that other processes keep from a processor, and that start such processes.

import Foundation
import ImageTools
import Testing

@Suite struct ScriptTests {
  let scripts = "\(PackageRoot.path ?? ".")/Scripts"

  func bash(_ script: String) async throws -> CommandResult {
    try await Command("bash", ["-c", script, scripts]).run()
  }

  @Test(
    .enabled(if: FileManager.default.fileExists(atPath: "/proc/self/schedstat"), "Linux tells who is asleep"))
  func `A command that waits for what never comes is ended with all that it has started`() async throws {
    let result = try await bash(
      "LOOKS=2 $0/unless-hung sh -c 'sleep 100000 & echo $!; wait' & wait $!; echo $?")
    let lines = result.output.split(separator: "\n")
    #expect(lines.count == 2 && lines.last == "124")
    #expect(result.errors.contains("nothing of this has wanted a processor 2 times in a row"))
    // Gone, or dead and not yet reaped.
    let sleeper = try #require(lines.first)
    let status = try? String(contentsOfFile: "/proc/\(sleeper)/stat", encoding: .utf8)
    #expect(status?.contains(") Z ") != false, "\(status ?? "")")
  }

  // It computes for longer than it might be asleep, says what it was given, and ends with a code of its own.
  @Test func `A command that computes is left alone`() async throws {
    let result = try await bash(
      """
      echo given | LOOKS=2 $0/unless-hung bash -c \
        'for ((i = 0; i < 2000000; i++)); do :; done; cat; exit 7'; echo $?
      """)
    #expect(result.output == "given\n7\n")
    #expect(result.errors == "")
  }

  @Test func `What fails beside busy loops is said to fail, and the loops end`() async throws {
    let passed = try await bash("$0/beside-busy-loops 2 3 true")
    #expect(passed.exitCode == 0)
    let runs = passed.output.split(separator: "\n")
    #expect(runs.count == 3 && runs.allSatisfy { $0.contains("beside 2 busy loops: passed, ") })
    // The output is closed only when all loops have ended.
    let failed = try await bash("$0/beside-busy-loops 2 3 sh -c 'exit 3' 2>&1 | cat; exit ${PIPESTATUS[0]}")
    #expect(failed.exitCode == 3)
    #expect(failed.output.hasPrefix("run 1 of 3 beside 2 busy loops: failed with 3, "))
  }
}
