// The core compiles for the Linux kernel, and needs exactly the listed symbols.

import Foundation
import Testing

@Suite struct ConformanceTests {
  /// All symbols that Linux has to supply.
  static let services = [
    "memcpy", "swift_stacks_alloc_pages", "swift_stacks_attributes", "swift_stacks_clear", "swift_stacks_cpu",
    "swift_stacks_cpu_count", "swift_stacks_cpu_node", "swift_stacks_flush_tlb_kernel_range",
    "swift_stacks_free_page_count", "swift_stacks_free_pages", "swift_stacks_irq_restore",
    "swift_stacks_irq_save", "swift_stacks_leaf_entry", "swift_stacks_lock", "swift_stacks_map_offset",
    "swift_stacks_node_count", "swift_stacks_page_to_nid", "swift_stacks_reserve_area",
    "swift_stacks_total_pages", "swift_stacks_unlock", "swift_stacks_va_bits",
  ]

  /// Those that the Makefile keeps.
  static var entryPoints: [String] {
    get throws {
      let makefile = try String(
        contentsOf: Folder.root.appendingPathComponent("Linux/kernelstacks/Makefile"), encoding: .utf8)
      let line = makefile.split(separator: "\n").first { $0.hasPrefix("swift-entries := ") }
      return (line ?? "").dropFirst("swift-entries := ".count).split(separator: " ").map {
        "swift_stacks_\($0)"
      }
    }
  }

  @Test
  func `Compiled and linked as for Linux, the core needs the listed services and nothing else`() throws {
    let build = try LinuxBuild()
    defer { build.remove() }
    let entryPoints = try Self.entryPoints
    #expect(entryPoints.count == 11)
    let object = try build.link(keeping: entryPoints)
    let undefined = try build.run("llvm-nm", ["--undefined-only", "--just-symbol-name", object])
    #expect(undefined.split(separator: "\n").map { String($0) }.sorted() == Self.services)
    let defined = try build.run("llvm-nm", ["--defined-only", "--extern-only", "--just-symbol-name", object])
    #expect(Set(defined.split(separator: "\n").map { String($0) }).isSuperset(of: entryPoints))

    let code = try build.run("llvm-objdump", ["-d", "-r", "--no-show-raw-insn", object])
    #expect(code.contains("ret"))
    let lines = code.split(separator: "\n")
    // The kernel's linker script knows one section of each kind.
    let sections = try build.run("llvm-readelf", ["--sections", "--wide", object]).split(separator: "\n")
    #expect(sections.filter { $0.contains(#/ \.(text|rodata|data|bss|swift)[._]/#) } == [])
    // The shadow call stack lives in x18.
    #expect(lines.filter { $0.contains(#/\b[xw]18\b/#) } == [])
    // The kernel has no global offset table, and no floating-point registers to spare.
    #expect(lines.filter { $0.contains("_GOT") || $0.contains(#/\b[qdv][0-9]+\b[,.]/#) } == [])
  }
}

/// A folder with the three modules, compiled.
private struct LinuxBuild {
  static let flags = [
    "-target", "aarch64-none-none-elf", "-enable-experimental-feature", "Embedded", "-wmo", "-O",
    "-no-allocations", "-parse-as-library", "-swift-version", "6",
    "-Xfrontend", "-function-sections", "-Xfrontend", "-disable-stack-protector",
    "-Xcc", "-mgeneral-regs-only", "-Xcc", "-ffixed-x18", "-Xcc", "-fno-pic", "-Xcc", "-mno-outline-atomics",
  ]

  let folder: Folder

  init() throws { folder = try Folder() }

  func remove() { folder.remove() }

  func run(_ tool: String, _ arguments: [String]) throws -> String { try folder.run(tool, arguments) }

  /// Compiles the modules, each with the ones before it, and links them partially.
  func link(keeping symbols: [String]) throws -> String {
    let modules = [
      ("KernelMachine", "Sources/KernelMachine"), ("KernelThreadStacks", "Sources/KernelThreadStacks"),
      ("LinuxStacks", "Linux/kernelstacks/LinuxStacks"),
    ]
    for (module, path) in modules {
      let directory = Folder.root.appendingPathComponent(path)
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
      ["-r", "--gc-sections", "-T", Folder.root.appendingPathComponent("Linux/kernelstacks/partial.ld").path]
        + symbols.flatMap { ["-u", $0] } + modules.reversed().map { "\(folder.path)/\($0.0).o" }
        + ["-o", object])
    return object
  }
}
