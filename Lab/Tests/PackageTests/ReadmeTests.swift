// The README's examples are real: they are the fixture's own files, and they compile for a host too.

import Foundation
import ImageTools
import Testing

@Suite struct ReadmeTests {
  let root = PackageRoot.path ?? "."

  /// The README's blocks of Swift.
  func blocks() throws -> [String] {
    let text = try String(contentsOfFile: "\(root)/README.md", encoding: .utf8)
    return text.components(separatedBy: "```swift\n").dropFirst().compactMap {
      $0.components(separatedBy: "```").first
    }
  }

  @Test func `The call site is the one that the fixture boots`() throws {
    let tasks = try String(
      contentsOfFile: "\(root)/Fixtures/ConsumerKernel/Sources/Kernel/Tasks.swift", encoding: .utf8)
    let code = try #require(tasks.range(of: "import KernelStacks")).lowerBound
    let block = try #require(try blocks().first { $0.contains("typealias Stacks") })
    #expect(tasks[code...].hasPrefix(block), "the README shows the beginning of the fixture's tasks")
  }

  @Test func `The dependency is the one that the fixture declares`() throws {
    func withoutBlanks(_ text: some StringProtocol) -> String { String(text.filter { !$0.isWhitespace }) }
    let manifest = try String(
      contentsOfFile: "\(root)/Fixtures/ConsumerKernel/Package.swift", encoding: .utf8)
    let block = try #require(try blocks().first { $0.contains(".package(url:") })
    for line in block.split(separator: "\n") where line.contains(".p") {
      #expect(withoutBlanks(manifest).contains(withoutBlanks(line)), "\(line)")
    }
  }

  @Test func `The call site compiles for a host`() async throws {
    let callSite = try #require(try blocks().first { $0.contains("typealias Stacks") })
    let modules = try #require(BuildProducts.path(of: "Modules/KernelStacks.swiftmodule"))
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("readme-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.hostMachine.write(
      to: folder.appendingPathComponent("Virt.swift"), atomically: true, encoding: .utf8)
    try callSite.write(to: folder.appendingPathComponent("Tasks.swift"), atomically: true, encoding: .utf8)

    let search = [
      "-swift-version", "6", "-I", URL(fileURLWithPath: modules).deletingLastPathComponent().path,
    ]
    let machine = try await Command(
      "swiftc",
      search + [
        "-parse-as-library", "-module-name", "Machine", "-emit-module", "-emit-module-path",
        folder.appendingPathComponent("Machine.swiftmodule").path,
        folder.appendingPathComponent("Virt.swift").path,
      ]
    ).run()
    #expect(machine.exitCode == 0, "\(machine.errors)")
    let kernel = try await Command(
      "swiftc",
      search + [
        "-parse-as-library", "-module-name", "Kernel", "-typecheck", "-warnings-as-errors", "-I", folder.path,
        folder.appendingPathComponent("Tasks.swift").path,
      ]
    ).run()
    #expect(kernel.exitCode == 0, "\(kernel.errors)")
  }

  @Test func `The README is read in five minutes`() throws {
    let text = try String(contentsOfFile: "\(root)/README.md", encoding: .utf8)
    #expect(text.split(whereSeparator: \.isWhitespace).count <= 1_000)
  }

  @Test func `The folder map names every folder`() async throws {
    let text = try String(contentsOfFile: "\(root)/docs/README.md", encoding: .utf8)
    let map = try #require(
      text.components(separatedBy: "## Find your way").last?.components(separatedBy: "\n## ").first)
    let named = Set(
      map.components(separatedBy: "](").dropFirst().map { String($0.prefix { $0 != ")" }) }
        .map { $0.hasPrefix("../") ? String($0.dropFirst(3)) : "docs" })
    let tracked = try await Command("git", ["-c", "safe.directory=*", "-C", root, "ls-files"]).run()
    #expect(tracked.exitCode == 0)
    let folders = Set(
      tracked.output.split(separator: "\n").compactMap { path -> String? in
        var parts = path.split(separator: "/").dropLast()
        guard var folder = parts.popFirst().map(String.init), !folder.hasPrefix(".") else { return nil }
        // Each part of the packages and their sources is named.
        while let part = parts.first, folder.hasSuffix("Sources") || ["Lab", "Lab/Kernel"].contains(folder) {
          folder += "/\(part)"
          parts.removeFirst()
        }
        return folder
      })
    #expect(folders.subtracting(named).sorted() == [], "folders that docs/README.md does not name")
  }

  /// A machine that is never run.
  static let hostMachine = """
    public import KernelStacks

    public struct Virt: PageTableMachine {
      public init() {}
      public var linearMapOffset: UInt { 0 }
      public func pointer(to address: PhysicalAddress) -> UnsafeMutableRawPointer { fatalError() }
      public func clear(_ address: VirtualAddress, byteCount: Int) {}
      public var virtualAddressBits: Int { 39 }
      public var kernelRoot: PhysicalAddress { PhysicalAddress(0) }
      public func readEntry(at address: PhysicalAddress) -> PageTableEntry { .empty }
      public func writeEntry(_ entry: PageTableEntry, at address: PhysicalAddress) {}
      public func publishEntries() {}
      public func completeAccesses() {}
      public func invalidate(_ pages: VirtualAddressRange, in space: AddressSpaceID, scope: InvalidationScope) {}
      public var currentCPU: Int { 0 }
      public var cpuCount: Int { 1 }
      public var currentNode: NodeID { NodeID(0) }
      public func disableInterrupts() -> InterruptState { InterruptState(rawValue: 0) }
      public func restoreInterrupts(_ state: InterruptState) {}
      public func lock(_ lock: UnsafeMutablePointer<SpinLock>) -> InterruptState { InterruptState(rawValue: 0) }
      public func unlock(_ lock: UnsafeMutablePointer<SpinLock>, restoring state: InterruptState) {}
    }
    """
}
