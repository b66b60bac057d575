// The manifest's promises to other packages: no target has flags that forbid a dependency by version, and no other package
// is fetched.

import Foundation
import ImageTools
import Testing

@Suite struct ManifestTests {
  @Test func `No target carries unsafe flags and nothing else is fetched`() async throws {
    let root = try #require(PackageRoot.path)
    // The package's own scratch folder is locked by the `swift test` that runs this.
    let workspace = try Workspace()
    let result = try await Command(
      "swift",
      ["package", "--package-path", root, "--scratch-path", "\(workspace.path)/scratch", "dump-package"]
    ).run()
    #expect(result.exitCode == 0, "\(result.errors)")
    #expect(result.output.contains("\"KernelThreadStacks\""))
    let manifest = try JSON(parsing: result.output)
    #expect(manifest["dependencies"]?.array?.count == 0)
    for word in ["unsafeFlags", "enableExperimentalFeature", "interoperabilityMode"] {
      #expect(!result.output.contains(word), "\(word) in Package.swift")
    }
  }
}
