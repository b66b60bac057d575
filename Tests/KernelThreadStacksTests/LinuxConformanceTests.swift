// The core compiles for the Linux kernel, and needs exactly what the list says.

import Foundation
import Testing

@Suite struct LinuxConformanceTests {
  /// What Linux has to supply, complete.
  static let services = [
    "memcpy", "swift_stacks_alloc_pages", "swift_stacks_clear", "swift_stacks_cpu", "swift_stacks_cpu_count",
    "swift_stacks_cpu_node", "swift_stacks_flush_tlb_kernel_range", "swift_stacks_free_page_count",
    "swift_stacks_free_pages", "swift_stacks_irq_restore", "swift_stacks_irq_save", "swift_stacks_leaf_entry",
    "swift_stacks_linear_map_offset", "swift_stacks_lock", "swift_stacks_node_count",
    "swift_stacks_page_attributes", "swift_stacks_page_to_nid", "swift_stacks_reserve_area",
    "swift_stacks_total_pages", "swift_stacks_unlock", "swift_stacks_va_bits",
  ]

  static let entryPoints = [
    "swift_stacks_alloc", "swift_stacks_drain", "swift_stacks_free", "swift_stacks_handle_size",
    "swift_stacks_init", "swift_stacks_page",
  ]

  @Test(
    "Compiled and linked as for Linux, the core needs the listed services and nothing else",
    .timeLimit(.minutes(5)))
  func undefinedSymbols() throws {
    let build = try LinuxBuild()
    defer { build.remove() }
    let object = try build.link(keeping: Self.entryPoints)
    let undefined = try build.run("llvm-nm", ["--undefined-only", "--just-symbol-name", object])
    #expect(undefined.split(separator: "\n").map { String($0) }.sorted() == Self.services)
    let defined = try build.run("llvm-nm", ["--defined-only", "--extern-only", "--just-symbol-name", object])
    #expect(Set(defined.split(separator: "\n").map { String($0) }).isSuperset(of: Self.entryPoints))

    let code = try build.run("llvm-objdump", ["-d", "-r", "--no-show-raw-insn", object])
    #expect(code.contains("ret"))
    let lines = code.split(separator: "\n")
    // The shadow call stack lives in x18.
    #expect(lines.filter { $0.contains(#/\b[xw]18\b/#) } == [])
    // The kernel has no global offset table, and no floating-point registers to spare.
    #expect(lines.filter { $0.contains("_GOT") || $0.contains(#/\b[qdv][0-9]+\b[,.]/#) } == [])
  }
}

/// A folder with the three modules, compiled.
private struct LinuxBuild {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  static let flags = [
    "-target", "aarch64-none-none-elf", "-enable-experimental-feature", "Embedded", "-wmo", "-O",
    "-no-allocations", "-parse-as-library", "-swift-version", "6",
    "-Xfrontend", "-function-sections", "-Xfrontend", "-disable-stack-protector",
    "-Xcc", "-mgeneral-regs-only", "-Xcc", "-ffixed-x18", "-Xcc", "-fno-pic", "-Xcc", "-mno-outline-atomics",
  ]

  let folder: URL
  let root: URL
  let toolchain: URL

  init() throws {
    root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "linux-conformance-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let paths = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    guard
      let compiler = paths.map({ URL(fileURLWithPath: "\($0)/swiftc") })
        .first(where: { FileManager.default.isExecutableFile(atPath: $0.path) })
    else { throw Failure(description: "swiftc is not in PATH") }
    toolchain = compiler.resolvingSymlinksInPath().deletingLastPathComponent()
  }

  func remove() { try? FileManager.default.removeItem(at: folder) }

  /// Compiles the modules, each with the ones before it, and links them partially.
  func link(keeping symbols: [String]) throws -> String {
    let modules = [
      ("KernelMachine", "Sources/KernelMachine"), ("KernelThreadStacks", "Sources/KernelThreadStacks"),
      ("LinuxConformance", "Fixtures/LinuxConformance"),
    ]
    for (module, path) in modules {
      let directory = root.appendingPathComponent(path)
      let sources = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        .filter { $0.hasSuffix(".swift") }.sorted().map { directory.appendingPathComponent($0).path }
      _ = try run(
        "swiftc",
        Self.flags + [
          "-module-name", module, "-I", folder.path, "-I", directory.path, "-emit-module", "-emit-module-path",
          "\(folder.path)/\(module).swiftmodule", "-o", "\(folder.path)/\(module).o", "-c",
        ] + sources)
    }
    let object = "\(folder.path)/swift-stacks.o"
    _ = try run(
      "ld.lld",
      ["-r", "--gc-sections", "-T", root.appendingPathComponent("Fixtures/LinuxConformance/discard.ld").path]
        + symbols.flatMap { ["-u", $0] } + modules.reversed().map { "\(folder.path)/\($0.0).o" }
        + ["-o", object])
    return object
  }

  /// Runs a tool: the toolchain's own, or else the one in PATH.
  func run(_ tool: String, _ arguments: [String]) throws -> String {
    let process = Process()
    let own = toolchain.appendingPathComponent(tool)
    if FileManager.default.isExecutableFile(atPath: own.path) {
      process.executableURL = own
      process.arguments = arguments
    } else {
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = [tool] + arguments
    }
    let output = folder.appendingPathComponent("output")
    let errors = folder.appendingPathComponent("errors")
    for file in [output, errors] { try Data().write(to: file) }
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      let words = (try? String(contentsOf: errors, encoding: .utf8)) ?? ""
      throw Failure(description: "\(tool) failed: \(words)")
    }
    return try String(contentsOf: output, encoding: .utf8)
  }
}
