// The plugin of QEMU that models caches and TLBs (Lab/MemoryModel): its build, and the question whether QEMU can load it.

import Foundation

/// Why there is no memory model, in one line.
public struct MemoryModelError: Error, CustomStringConvertible {
  /// The reason.
  public let description: String

  /// Makes an error of a reason.
  public init(_ description: String) { self.description = description }
}

/// The memory model, built once per process.
public actor MemoryModelPlugin {
  /// The one of this process.
  public static let shared = MemoryModelPlugin()

  /// What belongs to the unit test of the model alone.
  private static let testSource = "self_test.c"
  private static let flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]

  private var task: Task<String, any Error>?

  /// Builds the plugin, and has QEMU load it for a moment.
  ///
  /// - Returns: its path.
  /// - Throws: ``MemoryModelError`` if it cannot be built, or if QEMU has no plugins or another version of their interface.
  public func path() async throws -> String {
    if let task { return try await task.value }
    let task = Task { try await Self.build() }
    self.task = task
    return try await task.value
  }

  private static func build() async throws -> String {
    #if os(macOS)
      let kind = ["-bundle", "-undefined", "dynamic_lookup"]
    #else
      let kind = ["-shared", "-fPIC"]
    #endif
    let plugin = try await compile(kind + ["-fvisibility=hidden"], to: "memory-model.so", without: testSource)
    // A machine without RAM or CPU: the plugin ends QEMU when it is asked for nothing but this.
    let probe = Command(
      "qemu-system-aarch64", ["-machine", "none", "-display", "none", "-plugin", "\(plugin),probe=on"])
    guard let result = try? await probe.run() else { throw MemoryModelError("\(GuestError.qemuMissing)") }
    if result.exitCode == 0 { return plugin }
    throw MemoryModelError(refusal(of: result.errors))
  }

  /// What QEMU says when it does not load a plugin, in one line.
  static func refusal(of errors: String) -> String {
    let lines = errors.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    return "QEMU cannot load the memory model: \(lines.last { !$0.isEmpty } ?? "it does not say why")"
  }

  /// Builds the unit test of the model, a program for this computer.
  ///
  /// - Returns: its path.
  /// - Throws: ``MemoryModelError`` if it cannot be built.
  public static func buildTest() async throws -> String {
    try await compile([], to: "memory-model-test", without: "plugin.c")
  }

  private static func compile(_ kind: [String], to name: String, without excluded: String) async throws
    -> String
  {
    guard let root = PackageRoot.path else { throw MemoryModelError("the package's folder was not found") }
    let folder = "\(root)/Lab/MemoryModel"
    let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    let sources = files.filter { $0.hasSuffix(".c") && $0 != excluded }.map { "\(folder)/\($0)" }
    try FileManager.default.createDirectory(atPath: "\(root)/build", withIntermediateDirectories: true)
    // Replaced in one step: a guest that runs has the old file.
    let new = "\(root)/build/.\(name)-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: new) }
    let command = Command("cc", flags + kind + ["-o", new] + sources)
    guard let result = try? await command.run() else { throw MemoryModelError("there is no C compiler (cc)") }
    guard result.exitCode == 0 else {
      throw MemoryModelError("the memory model cannot be built:\n\(result.errors)")
    }
    let path = "\(root)/build/\(name)"
    guard rename(new, path) == 0 else {
      throw MemoryModelError("cannot write \(path): \(String(cString: strerror(errno)))")
    }
    return path
  }
}
