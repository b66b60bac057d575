// A temporary folder in which the tests of the Linux part run commands.

import Foundation

/// A folder that a test fills, and the commands that it runs there.
struct Folder {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  /// The result of a command.
  struct Outcome {
    var status: Int32
    var output: String
    var errors: String
  }

  /// The repository.
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  let url: URL
  var path: String { url.path }

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("linux-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  func remove() { try? FileManager.default.removeItem(at: url) }

  func file(_ name: String) -> URL { url.appendingPathComponent(name) }

  func write(_ text: String, to name: String) throws {
    let place = file(name)
    try FileManager.default.createDirectory(
      at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: place)
  }

  func read(_ name: String) throws -> String { try String(contentsOf: file(name), encoding: .utf8) }

  /// Every file below a folder, by its path there, with its bytes.
  func contents(of name: String) throws -> [String: Data] {
    var found: [String: Data] = [:]
    let base = file(name).resolvingSymlinksInPath().path
    guard let paths = FileManager.default.enumerator(atPath: base) else { return [:] }
    for case let path as String in paths {
      var isFolder: ObjCBool = false
      _ = FileManager.default.fileExists(atPath: "\(base)/\(path)", isDirectory: &isFolder)
      if !isFolder.boolValue { found[path] = try Data(contentsOf: URL(fileURLWithPath: "\(base)/\(path)")) }
    }
    return found
  }

  /// The folder of the Swift compiler's own tools.
  static func toolchain() throws -> URL {
    let paths = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    guard
      let compiler = paths.map({ URL(fileURLWithPath: "\($0)/swiftc") })
        .first(where: { FileManager.default.isExecutableFile(atPath: $0.path) })
    else { throw Failure(description: "swiftc is not in PATH") }
    return compiler.resolvingSymlinksInPath().deletingLastPathComponent()
  }

  /// Runs a command to its end and returns its status, zero or not.
  func outcome(_ command: String, _ arguments: [String], environment: [String: String]? = nil) throws -> Outcome
  {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: command)
    process.arguments = arguments
    if let environment { process.environment = environment }
    let name = UUID().uuidString
    let output = file("\(name).output")
    let errors = file("\(name).errors")
    for place in [output, errors] { try Data().write(to: place) }
    defer { for place in [output, errors] { try? FileManager.default.removeItem(at: place) } }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    process.waitUntilExit()
    return Outcome(
      status: process.terminationStatus, output: try String(contentsOf: output, encoding: .utf8),
      errors: try String(contentsOf: errors, encoding: .utf8))
  }

  /// Runs a tool that must succeed: the toolchain's own, or else the one in PATH.
  ///
  /// Returns its output.
  func run(_ tool: String, _ arguments: [String]) throws -> String {
    let own = try Self.toolchain().appendingPathComponent(tool).path
    let found = FileManager.default.isExecutableFile(atPath: own)
    let outcome = try outcome(found ? own : "/usr/bin/env", found ? arguments : [tool] + arguments)
    guard outcome.status == 0 else { throw Failure(description: "\(tool) failed: \(outcome.errors)") }
    return outcome.output
  }
}
