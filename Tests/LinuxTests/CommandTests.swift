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
      "awk", "bash", "cat", "cmp", "cp", "df", "dirname", "env", "grep", "id", "ls", "mkdir", "mv", "nice",
      "nproc",
      "rm", "sed", "sleep", "stat", "tail", "tar", "tr",
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

  @Test(arguments: ["run", "test"], [nil, "6.1", "6.12"])
  func `Missing packages are named in one line`(script: String, version: String?) throws {
    let folder = try Folder()
    defer { folder.remove() }
    let outcome = try bash(["\(Self.linux)/\(script)"] + (version.map { [$0] } ?? []), in: folder)
    #expect(outcome.status == 1)
    #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome.errors)")
    let packages = ["gcc-aarch64-linux-gnu", "qemu-system-arm", "linux-source-\(version ?? "6.1")", "bison"]
    for package in packages { #expect(outcome.errors.split { " \n".contains($0) }.contains { $0 == package }) }
    #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/cache"))
  }

  @Test(arguments: ["run", "test"], ["6.11", "6.1.192", "7"])
  func `A version that is not known is said in one line`(script: String, version: String) throws {
    let folder = try Folder()
    defer { folder.remove() }
    let outcome = try bash(["\(Self.linux)/\(script)", version], in: folder)
    #expect(outcome.status == 1 && outcome.output == "")
    let name = script == "run" ? "make linux" : "make linux-test"
    #expect(outcome.errors == "\(name): Linux \(version) is not known here; 6.1 and 6.12 are\n")
    #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/cache"))
  }

  @Test func `Unpacking one version leaves the builds of the other`() throws {
    for (version, gone) in [("6.1", "build-vmap"), ("6.12", "build-6.12-vmap")] {
      let folder = try Folder()
      defer { folder.remove() }
      for name in ["build-vmap", "build-6.12-vmap"] { try folder.write("built", to: "cache/\(name)/.config") }
      // The archive cannot be unpacked, which comes after all that is removed.
      try folder.write("no archive", to: "none.tar.xz")
      let script = "name='make linux'; . '\(Self.linux)/common.sh'; KSTACKS_LINUX_SPACE=0; unpack_source"
      let outcome = try bash(["-c", script, "bash", version], in: folder)
      #expect(outcome.status == 1 && outcome.errors.contains("none.tar.xz could not be unpacked"))
      let left = try folder.contents(of: "cache").keys.filter { $0.hasSuffix(".config") }
      #expect(left.count == 1 && !left.contains("\(gone)/.config"), "\(version): \(left)")
    }
  }

  @Test func `What make was told does not reach the make of Linux, where VERSION is another word`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try folder.write("VERSION = 6\nall:\n\t@echo version $(VERSION)\n", to: "tree/Makefile")
    try folder.write(
      """
      go:
      \t@bash -c "name='make linux'; . '\(Self.linux)/common.sh' 6.12; make -s -C '\(folder.path)/tree'"

      """, to: "Makefile")
    let make = try #require(
      ["/usr/bin/make", "/bin/make"].first { FileManager.default.fileExists(atPath: $0) })
    let outcome = try bash(
      ["-c", "PATH=$PATH:/usr/bin; '\(make)' -s -C '\(folder.path)' go VERSION=6.12"], in: folder)
    #expect(outcome.status == 0 && outcome.output == "version 6\n", "\(outcome)")
  }

  @Test func `An archive of another version is refused, and the other version's tree stays`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    try folder.write("VERSION = 6\nPATCHLEVEL = 1\n", to: "linux-source-6.1/Makefile")
    try folder.write("VERSION = 6\nPATCHLEVEL = 1\nof the user\n", to: "cache/linux-source-6.1/Makefile")
    #expect(try bash(["-c", "cd \"$HOME\" && tar -cf archive.tar linux-source-6.1"], in: folder).status == 0)
    let script = """
      name='make linux'; . '\(Self.linux)/common.sh'; archive=$HOME/archive.tar; KSTACKS_LINUX_SPACE=0; unpack_source
      """
    let outcome = try bash(["-c", script, "bash", "6.12"], in: folder)
    #expect(outcome.status == 1, "\(outcome)")
    #expect(outcome.errors.contains("archive.tar is not the source of Linux 6.12"), "\(outcome)")
    let cache = try folder.contents(of: "cache")
    #expect(cache["linux-source-6.1/Makefile"]?.suffix(12) == Data("of the user\n".utf8))
    #expect(cache["linux-source-6.12/.unpacked"] == nil)
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
