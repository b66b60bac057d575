// What make linux-debian says when something is lacking, and that a root which is half made is not taken for one.

import Foundation
import Testing

@Suite struct DebianTests {
  static let linux = CommandTests.linux
  static let mirror = "KSTACKS_DEBIAN_MIRROR=http://localhost/debian KSTACKS_DEBIAN_SUITE=stable"

  /// Runs lines of bash behind the script's functions.
  func run(_ lines: String, in folder: Folder) throws -> Folder.Outcome {
    let start = "name='make linux-debian'; . '\(Self.linux)/common.sh' 6.12; . '\(Self.linux)/debian.sh'"
    return try CommandTests().bash(["-c", "set -euo pipefail; \(start); \(lines)"], in: folder)
  }

  /// Puts a command in the way of the computer's own.
  func put(_ command: String, _ script: String, in folder: Folder) throws {
    try folder.write("#!/bin/bash\n\(script)\n", to: "bin/\(command)")
    try FileManager.default.setAttributes(
      [.posixPermissions: 0o755], ofItemAtPath: folder.file("bin/\(command)").path)
  }

  func isOneLine(_ outcome: Folder.Outcome) -> Bool {
    outcome.status == 1 && outcome.errors.hasPrefix("make linux-debian: ")
      && outcome.errors.split(separator: "\n").count == 1
  }

  @Test func `Without a mirror of Debian a line says what to set`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let outcome = try CommandTests().bash(["\(Self.linux)/debian"], in: folder)
    #expect(isOneLine(outcome), "\(outcome)")
    for word in ["KSTACKS_DEBIAN_MIRROR", "KSTACKS_DEBIAN_SUITE"] { #expect(outcome.errors.contains(word)) }
    #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/cache"))
  }

  @Test(arguments: [
    ("http://first/debian/ bookworm main Debian", "http://first/debian/ bookworm"),
    (
      "http://other/ stable main Other\nhttp://second/ trixie-updates main Debian\n"
        + "http://second/ trixie contrib Debian\nhttp://third/ trixie main Debian", "http://third/ trixie"
    ),
  ])
  func `The mirror is the one that apt is configured with`(targets: String, found: String) throws {
    let folder = try Folder()
    defer { folder.remove() }
    try put("apt-get", "echo '\(targets)'", in: folder)
    #expect(try run("find_mirror; echo $mirror $suite", in: folder).output == "\(found)\n")
    #expect(
      try run("export \(Self.mirror); find_mirror; echo $mirror $suite", in: folder).output
        == "http://localhost/debian stable\n")
  }

  @Test func `Missing packages are named in one line`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let outcome = try CommandTests().bash(
      ["-c", "export \(Self.mirror); exec bash '\(Self.linux)/debian'"], in: folder)
    #expect(isOneLine(outcome), "\(outcome)")
    for package in ["mmdebstrap", "gcc-aarch64-linux-gnu", "qemu-system-arm", "linux-source-6.12"] {
      #expect(outcome.errors.split { " \n".contains($0) }.contains { $0 == package })
    }
    #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/cache"))
  }

  @Test func `Too little disk space is said in one line`() throws {
    let folder = try Folder()
    defer { folder.remove() }
    let outcome = try run("KSTACKS_LINUX_SPACE=1000000000; require_debian_space; echo begun", in: folder)
    #expect(isOneLine(outcome) && outcome.output == "", "\(outcome)")
    #expect(outcome.errors.contains("1000000000 MiB are needed"))
  }

  #if os(Linux)
    /// Packages that can be had, and a machine that shows what the file `guest` holds.
    func prepare(_ folder: Folder) throws {
      try put("mmdebstrap", "tar -c -f \"${@: -2:1}\" --files-from /dev/null", in: folder)
      try put("mke2fs", "echo image >\"${@: -2:1}\"", in: folder)
      try put("fakeroot", "exec \"$@\"", in: folder)
      try put("chown", "exit 0", in: folder)
      try put("e2fsck", "exit 1", in: folder)
      try put("qemu-system-aarch64", "cat \"$HOME/guest\"", in: folder)
      try FileManager.default.createDirectory(at: folder.file("cache"), withIntermediateDirectories: true)
    }
    static let build = "export \(mirror); find_mirror; build_image"
    static let installed = "KSTACKS {\"type\":\"root\",\"packages\":207}\n"

    func image(_ folder: Folder) throws -> [String] {
      try folder.contents(of: "cache").keys.filter { $0.hasPrefix("debian.image") }.sorted()
    }

    @Test func `Packages that cannot be had are said in one line, and there is no image`() throws {
      let folder = try Folder()
      defer { folder.remove() }
      try prepare(folder)
      try put("mmdebstrap", "echo 'E: no such suite' && exit 1", in: folder)
      let outcome = try run(Self.build, in: folder)
      #expect(isOneLine(outcome) && outcome.errors.contains("E: no such suite"), "\(outcome)")
      #expect(try image(folder) == [])
    }

    @Test func `An image is one only when its first boot has installed all packages`() throws {
      let folder = try Folder()
      defer { folder.remove() }
      try prepare(folder)
      try folder.write("dpkg: error processing package\nreboot: Power down\n", to: "guest")
      let outcome = try run(Self.build, in: folder)
      #expect(isOneLine(outcome) && outcome.errors.contains("could not be installed"), "\(outcome)")
      #expect(try image(folder) == [])
      try folder.write(Self.installed, to: "guest")
      try put("e2fsck", "exit 4", in: folder)
      let damaged = try run(Self.build, in: folder)
      #expect(isOneLine(damaged) && damaged.errors.contains("is damaged"), "\(damaged)")
      #expect(try image(folder) == [])
      try put("e2fsck", "exit 0", in: folder)
      #expect(try run(Self.build, in: folder).status == 0)
      #expect(try image(folder) == ["debian.image", "debian.image.ingredients"])
      #expect(try folder.contents(of: "cache").keys.filter { $0.hasPrefix("debian-new/") } == [])
    }

    @Test func `A whole image stays; one that is half made or made of other things is made anew`() throws {
      let folder = try Folder()
      defer { folder.remove() }
      try prepare(folder)
      try folder.write(Self.installed, to: "guest")
      // What is left of a run that was stopped.
      try folder.write("half", to: "cache/debian.image")
      try folder.write("half", to: "cache/debian-new/root/etc/passwd")
      #expect(try run(Self.build, in: folder).status == 0)
      #expect(try folder.read("cache/debian.image") == "image\n")
      try put("mke2fs", "echo another >\"${@: -2:1}\"", in: folder)
      #expect(try run(Self.build, in: folder).status == 0)
      #expect(try folder.read("cache/debian.image") == "image\n")
      #expect(try run("\(Self.build); suite=other; build_image", in: folder).status == 0)
      #expect(try folder.read("cache/debian.image") == "another\n")
    }
  #endif
}
