// The C library, and kernels in C that are linked with it.

import Foundation
import ImageTools
import Testing

/// The library and the kernel that uses it, built once for all tests.
actor CLibrary {
  static let shared = CLibrary()

  static var headerFolder: String { "\(PackageRoot.path ?? ".")/Sources/KernelStacksCHeader/include" }

  static var hasCompiler: Bool { isInstalled("clang") && isInstalled("ld.lld") && isInstalled("make") }

  static func isInstalled(_ program: String) -> Bool { find(program) != nil }

  /// A tool beside the Swift compiler, or else in PATH.
  static func tool(_ program: String) -> String {
    if let compiler = find("swiftc") {
      let beside = URL(fileURLWithPath: compiler).resolvingSymlinksInPath().deletingLastPathComponent()
        .appendingPathComponent(program).path
      if FileManager.default.isExecutableFile(atPath: beside) { return beside }
    }
    return program
  }

  private static func find(_ program: String) -> String? {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Where a kernel's frames and tables come from.
  enum Memory: String {
    case library = "FRAMES=library"
    case ownFrames = "FRAMES=own"
    case ownFramesAndTables = "FRAMES=own ADDRESSES=own"
  }

  private var libraries: [Bool: Task<String, any Error>] = [:]
  private var kernels: [String: Task<String, any Error>] = [:]

  /// The folder with `libkernel_stacks.a` and `kernel_stacks.h`, as `make c-library` makes it.
  var path: String {
    get async throws { try await path(isChecked: false) }
  }

  /// The same, or such a folder of a library that is built with checks.
  func path(isChecked: Bool) async throws -> String {
    if libraries[isChecked] == nil {
      libraries[isChecked] = Task {
        let root = try #require(PackageRoot.path)
        let output = "\(root)/build/c-library" + (isChecked ? "-checked" : "")
        let command = Command("make", ["-s", "c-library", "CHECKED=\(isChecked ? 1 : 0)"], in: root)
        let result = try await command.run()
        try #require(result.exitCode == 0, "\(result.output)\(result.errors)")
        return output
      }
    }
    return try await libraries[isChecked]!.value
  }

  /// The bytes of a file that is linked with all of the library.
  func linkedWhole() async throws -> [UInt8] {
    let library = try await path
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("whole-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let (source, object, linked) = ("\(folder.path)/cpu.c", "\(folder.path)/cpu.o", "\(folder.path)/linked")
    try "unsigned ks_machine_cpu(void) { return 0; }\n".write(toFile: source, atomically: true, encoding: .utf8)
    let compiled = try await Command(
      Self.tool("clang"), ["--target=aarch64-none-elf", "-O2", "-ffreestanding", "-c", source, "-o", object]
    ).run()
    try #require(compiled.exitCode == 0, "\(compiled.errors)")
    let result = try await Command(
      Self.tool("ld.lld"),
      ["-e", "ks_init", object, "--whole-archive", "\(library)/libkernel_stacks.a", "-o", linked]
    ).run()
    try #require(result.exitCode == 0, "\(result.errors)")
    return [UInt8](try Data(contentsOf: URL(fileURLWithPath: linked)))
  }

  /// The linked kernel.
  ///
  /// - Parameters:
  ///   - vmallocMiB: with more than 0, the kernel only uses a vmalloc area of that size.
  ///   - lends: whether it only runs threads with lent pages.
  ///   - hasOwnVectors: whether it only runs threads at EL1h, with vectors made of the library's macros.
  ///   - nodes: with 2, it only takes stacks of two nodes, and gives no function that may be left out.
  ///   - memory: where its frames and tables come from.
  ///   - isChecked: whether the library is built with checks.
  func kernel(
    addressBits: Int = 39, vmallocMiB: Int = 0, lends: Bool = false, hasOwnVectors: Bool = false,
    nodes: Int = 1, memory: Memory = .library, isChecked: Bool = false
  ) async throws -> String {
    let library = try await path(isChecked: isChecked)
    let name =
      "example-\(addressBits)" + (vmallocMiB > 0 ? "-\(vmallocMiB)" : "") + (lends ? "-lent" : "")
      + (hasOwnVectors ? "-el1h" : "") + (nodes > 1 ? "-nodes" : "")
      + (memory == .library ? "" : "-\(memory)")
    let output = "\(library)/\(name)"
    if kernels[output] == nil {
      kernels[output] = Task {
        let root = try #require(PackageRoot.path)
        let result = try await Command(
          "make",
          [
            "-s", "-C", "\(root)/Fixtures/CKernel", "LIBRARY=\(library)", "BUILD=\(output)",
            "ADDRESS_BITS=\(addressBits)", "VMALLOC_MIB=\(vmallocMiB)",
            "LENDS=\(lends ? 1 : 0)", "EL1H=\(hasOwnVectors ? 1 : 0)", "CHECKED=\(isChecked ? 1 : 0)",
            "NODES=\(nodes)",
          ] + memory.rawValue.split(separator: " ").map { String($0) }
        ).run()
        try #require(result.exitCode == 0, "\(result.output)\(result.errors)")
        return "\(output)/kernel"
      }
    }
    return try await kernels[output]!.value
  }
}
