// What make linux says when something that it needs is missing.

import Foundation
import Testing

@Suite struct CommandTests {
  static let linux = Folder.root.appendingPathComponent("Linux").path

  /// Runs bash with nothing in PATH but a few harmless commands.
  func bash(_ arguments: [String], in folder: Folder) throws -> Folder.Outcome {
    let commands = folder.file("bin")
    try FileManager.default.createDirectory(at: commands, withIntermediateDirectories: true)
    for name in ["awk", "bash", "cat", "df", "dirname", "grep", "id", "ls", "mkdir", "nproc", "sed", "stat"] {
      guard
        let found = ["/usr/bin", "/bin"].first(where: {
          FileManager.default.fileExists(atPath: "\($0)/\(name)")
        })
      else { continue }
      try? FileManager.default.createSymbolicLink(
        atPath: commands.appendingPathComponent(name).path, withDestinationPath: "\(found)/\(name)")
    }
    return try folder.outcome(
      "/bin/bash", arguments,
      environment: [
        "PATH": commands.path, "HOME": folder.path, "KSTACKS_LINUX_CACHE": "\(folder.path)/cache",
        "KSTACKS_LINUX_ARCHIVE": "\(folder.path)/none.tar.xz",
      ])
  }

  @Test("Missing packages are named in one line", arguments: ["run", "test"])
  func packages(script: String) throws {
    let folder = try Folder()
    defer { folder.remove() }
    let outcome = try bash(["\(Self.linux)/\(script)"], in: folder)
    #expect(outcome.status == 1)
    #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome.errors)")
    for package in ["gcc-aarch64-linux-gnu", "qemu-system-arm", "linux-source-6.1", "bison"] {
      #expect(outcome.errors.contains(package))
    }
    #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/cache"))
  }

  @Test("Too little disk space is said in one line, before anything is unpacked")
  func space() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let outcome = try bash(
      ["-c", "name='make linux'; . '\(Self.linux)/common.sh'; require_space 1000000000; echo unpacked"],
      in: folder)
    #expect(outcome.status == 1 && outcome.output == "")
    #expect(outcome.errors.hasPrefix("make linux: ") && outcome.errors.contains("1000000000 MiB are needed"))
    #expect(outcome.errors.split(separator: "\n").count == 1)
  }
}
