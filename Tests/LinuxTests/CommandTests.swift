// The messages of make linux when a tool that it needs is missing.

import Foundation
import Testing

@Suite struct CommandTests {
  static let linux = Folder.root.appendingPathComponent("Linux").path

  /// Runs bash with nothing in PATH but a few harmless commands.
  func bash(_ arguments: [String], in folder: Folder) throws -> Folder.Outcome {
    let commands = folder.file("bin")
    try FileManager.default.createDirectory(at: commands, withIntermediateDirectories: true)
    for name in [
      "awk", "bash", "cat", "df", "dirname", "env", "grep", "id", "ls", "mkdir", "nproc", "rm", "sed", "sleep",
      "stat",
      "tail", "tr",
    ] {
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

  @Test(arguments: ["run", "test"]) func `Missing packages are named in one line`(script: String) throws {
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

  @Test func `Too little disk space is said in one line, before anything is unpacked`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let outcome = try bash(
      ["-c", "name='make linux'; . '\(Self.linux)/common.sh'; require_space 1000000000; echo unpacked"],
      in: folder)
    #expect(outcome.status == 1 && outcome.output == "")
    #expect(outcome.errors.hasPrefix("make linux: ") && outcome.errors.contains("1000000000 MiB are needed"))
    #expect(outcome.errors.split(separator: "\n").count == 1)
  }

  #if os(Linux)
    @Test(arguments: [
      ("sleep 100000", "the guest was stopped: it waited for what never came"),
      ("while :; do :; done", "the limit of 2 s of processor time was reached"),
    ])
    func `A guest that hangs is stopped: one that waits for ever, and one that goes round in circles`(
      guest: String, words: String
    ) throws {
      let folder = try Folder()
      defer { folder.remove() }
      let script = folder.file("bin/qemu-system-aarch64")
      try folder.write("#!/bin/bash\necho booting\n\(guest)\n", to: "bin/qemu-system-aarch64")
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: script.path)
      try FileManager.default.createDirectory(at: folder.file("cache"), withIntermediateDirectories: true)
      let outcome = try bash(
        [
          "-c",
          "name='make linux'; . '\(Self.linux)/common.sh'; LOOKS=2; boot vmap 128 2 1 storm; cat \"$log\"",
        ],
        in: folder)
      let lines = outcome.output.split(separator: "\n")
      #expect(lines.first == "booting" && lines.last.map { String($0) } == words, "\(outcome)")
    }
  #endif
}
