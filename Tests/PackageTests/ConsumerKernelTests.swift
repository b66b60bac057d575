// Another package can depend on a released version, build a kernel with it, and boot that.

#if Tools
  import Foundation
  import ImageTools
  import Testing

  @Suite(.timeLimit(.minutes(5))) struct ConsumerKernelTests {
    @Test func aKernelThatDependsOnVersion0_1_0BuildsForBareMetalAndBoots() async throws {
      let workspace = try Workspace()
      let package = try await workspace.makeConsumer()

      let kernel = BareMetalBuild(
        packageRoot: package, product: "Kernel", toolset: "Toolset.json", scratch: ".build",
        extraArguments: ["--cache-path", "\(workspace.path)/cache"])
      _ = try await kernel.build()

      // Nothing but the package itself was fetched: none of what only the tools need.
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: "\(package)/.build/checkouts") == ["KernelStacks"])

      var guest = Guest(kernel: kernel.executablePath)
      guest.timeLimit = .seconds(60)
      let run = try await guest.run()
      #expect(
        run.lines == [
          "linear: 16 stacks forked, zeroed and reaped", "vmalloc: 16 stacks forked, zeroed and reaped",
        ])
      #expect(run.exitCode == 0)
    }

    @Test func noTargetCarriesUnsafeFlagsOrExperimentalFeatures() async throws {
      let root = try #require(PackageRoot.path)
      // The package's own scratch folder is locked by the `swift test` that runs this.
      let workspace = try Workspace()
      let result = try await Command(
        "swift",
        ["package", "--package-path", root, "--scratch-path", "\(workspace.path)/scratch", "dump-package"]
      ).run()
      #expect(result.exitCode == 0, "\(result.errors)")
      #expect(result.output.contains("\"KernelThreadStacks\""))
      for word in ["unsafeFlags", "enableExperimentalFeature", "interoperabilityMode"] {
        #expect(!result.output.contains(word), "\(word) in Package.swift")
      }
    }
  }

  /// A temporary folder with a tagged clone of this repository and a package that depends on it.
  final class Workspace {
    let path: String

    init() throws {
      path =
        FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
        .appendingPathComponent("consumer-\(UUID().uuidString)").path
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Clones what is committed as version 0.1.0, and points a copy of the fixture there without touching its manifest.
    func makeConsumer() async throws -> String {
      let root = try #require(PackageRoot.path)
      let clone = "\(path)/KernelStacks"
      // The clone may belong to another user, as in a container; it is only read.
      try await must("git", ["-c", "safe.directory=*", "clone", "--quiet", root, clone])
      try await must("git", ["-C", clone, "tag", "--force", "0.1.0"])

      let package = "\(path)/ConsumerKernel"
      try FileManager.default.copyItem(atPath: "\(root)/Fixtures/ConsumerKernel", toPath: package)
      for leftover in [".build", ".swiftpm", "Package.resolved"] {
        try? FileManager.default.removeItem(atPath: "\(package)/\(leftover)")
      }
      try await must(
        "swift",
        [
          "package", "--package-path", package, "config", "set-mirror", "--original",
          "https://github.com/KernelStacks/KernelStacks", "--mirror", "file://\(clone)",
        ])
      return package
    }

    private func must(_ program: String, _ arguments: [String]) async throws {
      let result = try await Command(program, arguments).run()
      try #require(result.exitCode == 0, "\(program) \(arguments): \(result.output)\(result.errors)")
    }
  }
#endif
