// The articles of the documentation: their code compiles, and code that they call wrong does not.

import Foundation
import ImageTools
import Testing

@Suite struct ArticleTests {
  /// The blocks of Swift of an article.
  func blocks(_ article: String) throws -> [String] {
    let text = try String(contentsOfFile: "\(Tutorial.catalogue)/Articles/\(article).md", encoding: .utf8)
    return text.components(separatedBy: "```swift\n").dropFirst().compactMap {
      $0.components(separatedBy: "```").first
    }
  }

  /// The compiler's result for code that can use a machine, `Virt`, and its allocator, `Stacks`.
  func compile(_ code: String) async throws -> CommandResult {
    let modules = try #require(BuildProducts.path(of: "Modules/KernelStacks.swiftmodule"))
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("article-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let machine = folder.appendingPathComponent("Virt.swift")
    let sample = folder.appendingPathComponent("Sample.swift")
    try ReadmeTests.hostMachine.write(to: machine, atomically: true, encoding: .utf8)
    let preamble = """
      import KernelStacks
      typealias Stacks = ThreadStackAllocator<Virt, BuddyAllocator<Virt>, VmallocArea<Virt>>

      """
    try (preamble + code).write(to: sample, atomically: true, encoding: .utf8)
    // Ownership is checked only after types are.
    return try await Command(
      "swiftc",
      [
        "-swift-version", "6", "-I", URL(fileURLWithPath: modules).deletingLastPathComponent().path,
        "-parse-as-library", "-module-name", "Sample", "-wmo", "-emit-sil", "-o", "/dev/null", machine.path,
        sample.path,
      ]
    ).run()
  }

  @Test(arguments: [
    ("KernelThreadStacks", "ThreadStacksModule"), ("KernelScheduling", "SchedulingModule"),
    ("KernelMachine", "MachineModule"), ("KernelPageFrames", "PageFramesModule"),
    ("KernelVirtualMemory", "VirtualMemoryModule"),
  ])
  func `The module's page names each public type`(module: String, article: String) throws {
    let page = try String(contentsOfFile: "\(Tutorial.catalogue)/Articles/\(article).md", encoding: .utf8)
    let folder = "\(try #require(PackageRoot.path))/Sources/\(module)"
    for file in try FileManager.default.contentsOfDirectory(atPath: folder) where file.hasSuffix(".swift") {
      for line in try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8).split(separator: "\n") {
        // Only declarations at the beginning of a line are at the top level of a file.
        let words = line.replacing("@frozen ", with: "").split { " :<".contains($0) }
        guard words.count > 2, words[0] == "public", line.first != " ",
          ["struct", "enum", "protocol", "typealias"].contains(words[1])
        else { continue }
        #expect(page.contains("- ``\(words[2])``\n"), "\(file): \(words[2])")
      }
    }
  }

  @Test func `The sample of the allocator compiles`() async throws {
    let sample = try #require(try blocks("ThreadStacksModule").first)
    let result = try await compile(
      """
      func sample(
        machine: Virt, frames: consuming BuddyAllocator<Virt>, arena: consuming VmallocArea<Virt>
      ) throws {
      \(sample)
      }
      """)
    #expect(result.exitCode == 0, "\(result.errors)")
  }

  @Test func `Freeing a stack twice does not compile`() async throws {
    let sample = try #require(try blocks("Ownership").first)
    func inFunction(_ code: String) -> String {
      "func sample(_ stacks: borrowing Stacks) throws {\n\(code)\n}"
    }
    // The comment quotes the compiler, which quotes the lines that it complains about.
    let quoted = try #require(sample.components(separatedBy: "// ").last).split(separator: "\n")[0]
    let twice = try await compile(inFunction(sample.replacing("// \(quoted)", with: "")))
    #expect(twice.exitCode != 0)
    #expect(twice.errors.contains(quoted), "\(twice.errors)")
    let once = sample.split(separator: "\n").dropLast().joined(separator: "\n")
    let result = try await compile(inFunction(once))
    #expect(result.exitCode == 0, "\(result.errors)")
  }

  @Test func `Tasks that own their stacks are those of the tutorial`() throws {
    let sample = try #require(try blocks("Ownership").last)
    let tasks = try #require(try Tutorial().finalFiles["Sources/Kernel/Tasks.swift"])
    for part in sample.components(separatedBy: "\n\n") {
      let code = part.trimmingCharacters(in: .newlines)
      #expect(tasks.contains(code), "\(code)")
    }
  }
}
