// The kstacks command as its user meets it: exit codes and messages.

#if Tools
  import Foundation
  import ImageTools
  import Testing

  @Suite struct CommandLineTests {
    /// The command, which lies in the folder of the test bundle or of the bundle's executable.
    static let kstacks: String? = {
      var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
      for _ in 0..<5 {
        let candidate = folder.appendingPathComponent("kstacks").path
        if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
        folder.deleteLastPathComponent()
      }
      let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
      let built = root.appendingPathComponent(".build/debug/kstacks").path
      return FileManager.default.isExecutableFile(atPath: built) ? built : nil
    }()

    func run(_ arguments: [String]) async throws -> CommandResult {
      try await Command(try #require(Self.kstacks, "kstacks was not built"), arguments).run()
    }

    @Test(arguments: [
      (["run", "no-such-scenario"], "there is no scenario no-such-scenario; scenarios: fragmented-fork"),
      (["run", "--memory", "8M"], "8 MiB of memory is too little: the kernel needs at least"),
      (["run", "--memory", "much"], "memory cannot be much"),
      (["run", "--numa-nodes", "3"], "1 or 2 NUMA nodes"),
      (["run", "--seed", "1 strategy=linear"], "is no value for seed"),
      (["run", "--no-such-option"], "Unknown option '--no-such-option'"),
      (["run", "--machine", "toaster"], "toaster"),
      (["run", "--time-limit", "0"], "the time limit"),
      (["bench", "--machine", "simulated"], "only the machine qemu can count instructions"),
    ])
    func badInputGetsOneClearLineAndAFailingExitCode(arguments: [String], message: String) async throws {
      let result = try await run(arguments)
      #expect(result.exitCode != 0)
      #expect(result.output == "")
      #expect(result.errors.hasPrefix("kstacks: "))
      #expect(result.errors.contains(message), "\(result.errors)")
      #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
    }

    @Test func theListNamesEveryScenarioWithWhatItDoes() async throws {
      let result = try await run(["list"])
      #expect(result.exitCode == 0)
      #expect(result.output.contains("fragmented-fork"))
      #expect(result.output.split(separator: "\n").allSatisfy { $0.contains("  ") })
    }

    @Test(arguments: [["--help"], ["run", "--help"], ["list", "--help"], ["bench", "--help"]])
    func helpIsAlwaysThere(arguments: [String]) async throws {
      let result = try await run(arguments)
      #expect(result.exitCode == 0)
      #expect(result.output.contains("USAGE: kstacks"))
    }

    @Test func withoutQemuItSaysHowToGetIt() async throws {
      let kstacks = try #require(Self.kstacks)
      let result = try await Command("/usr/bin/env", ["PATH=/nowhere", kstacks, "run"]).run()
      #expect(result.exitCode != 0)
      #expect(result.errors.contains("apt-get install qemu-system-arm"))
      #expect(result.errors.contains("brew install qemu"))
    }
  }
#endif
