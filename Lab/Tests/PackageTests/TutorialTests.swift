// The tutorial works: its files, followed step by step, make kernels that boot and print the output that it shows.

import Foundation
import ImageTools
import Testing

@Suite struct TutorialTests {
  @Test func `Each section ends with a kernel that boots and says what is shown`() async throws {
    let tutorial = try Tutorial()
    let workspace = try Workspace()
    let package = "\(workspace.path)/MyKernel"
    for (number, section) in tutorial.sections.enumerated() {
      for step in section where step.name != Tutorial.console {
        let file = URL(fileURLWithPath: "\(package)/\(step.name)")
        try FileManager.default.createDirectory(
          at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try step.text.write(to: file, atomically: true, encoding: .utf8)
      }
      if number == 0 { try await workspace.supplyKernelStacks(to: package) }
      let run = try await Command(
        "bash", ["\(package)/run", "--cache-path", "\(workspace.path)/cache"], in: package
      ).run()
      #expect(run.exitCode == 0, "section \(number + 1): \(run.errors)")
      #expect(
        run.output.split(whereSeparator: \.isNewline) == section.last?.text.split(separator: "\n"),
        "section \(number + 1)")
      if run.exitCode != 0 { return }
    }
    // Nothing but the package itself was fetched.
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: "\(package)/.build/checkouts") == ["KernelStacks"])
  }

  @Test func `Each section shows a file once and the console last`() throws {
    let tutorial = try Tutorial()
    #expect(tutorial.sections.count == 4)
    for section in tutorial.sections {
      #expect(section.last?.name == Tutorial.console)
      #expect(
        Set(section.map(\.name)).count == section.count, "a file that is shown twice is compiled once only")
    }
  }

  @Test func `What is left in the end is the fixture`() throws {
    let folder = "\(try #require(PackageRoot.path))/Fixtures/ConsumerKernel"
    var fixture: [String: String] = [:]
    let files = try #require(FileManager.default.enumerator(atPath: folder))
    while let file = files.nextObject() as? String {
      if file.hasPrefix(".") || file == "Package.resolved" { continue }
      var isFolder: ObjCBool = false
      _ = FileManager.default.fileExists(atPath: "\(folder)/\(file)", isDirectory: &isFolder)
      if !isFolder.boolValue {
        fixture[file] = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
      }
    }
    let shown = try Tutorial().finalFiles
    #expect(shown.keys.sorted() == fixture.keys.sorted())
    for (name, text) in fixture { #expect(shown[name] == text, "\(name)") }
  }

  @Test func `Every file of code is shown`() throws {
    let shown = try Set(Tutorial().sections.joined().map(\.resource))
    let there = try FileManager.default.contentsOfDirectory(atPath: "\(Tutorial.catalogue)/Resources")
    #expect(Set(there.filter { !$0.hasSuffix(".svg") }) == shown)
  }
}
