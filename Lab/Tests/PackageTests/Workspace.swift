// A temporary folder in which a test makes packages of its own.

import Foundation
import ImageTools
import Testing

/// A temporary folder, for a tagged clone of this repository and a package that depends on it.
final class Workspace {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
      .appendingPathComponent("consumer-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Clones the current commit as version 0.1.0, and lets a package find it there without touching its manifest.
  ///
  /// - Parameter package: the folder of the package, which has a manifest.
  func supplyKernelStacks(to package: String) async throws {
    let root = try #require(PackageRoot.path)
    let clone = "\(path)/KernelStacks"
    // The clone may belong to another user, as in a container; it is only read.
    try await must("git", ["-c", "safe.directory=*", "clone", "--quiet", root, clone])
    try await must("git", ["-C", clone, "tag", "--force", "0.1.0"])
    try await must(
      "swift",
      [
        "package", "--package-path", package, "config", "set-mirror", "--original",
        "https://github.com/KernelStacks/KernelStacks", "--mirror", "file://\(clone)",
      ])
  }

  private func must(_ program: String, _ arguments: [String]) async throws {
    let result = try await Command(program, arguments).run()
    try #require(result.exitCode == 0, "\(program) \(arguments): \(result.output)\(result.errors)")
  }
}
