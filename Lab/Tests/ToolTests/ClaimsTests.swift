// docs/claims.md agrees with measurements: its tables with fresh runs, its prose with its tables.

import Foundation
import ImageTools
import SimulatedScenarios
import Testing

@testable import kstacks

@Suite struct ClaimsTests {
  func page() throws -> ClaimPage {
    try ClaimPage(String(contentsOfFile: "\(try #require(PackageRoot.path))/docs/claims.md", encoding: .utf8))
  }

  /// Tables without any result: their names and rows.
  var shape: [ClaimTable] { ClaimResults().tables(addressSpace: nil) }

  @Test(.enabled(if: Guest.isQemuInstalled, "qemu-system-aarch64 is not installed"))
  func `The page agrees with fresh runs`() async throws {
    var results = ClaimResults()
    // Few guests, that take seconds.
    let short: [ClaimSource] = [.forks, .halfSize, .halfSizeInSingleFrames, .costs, .lentCosts, .exhaustion]
    for source in short {
      results.entries[source] = try await ClaimsCommand.results(of: source)
    }
    let differences = try page().differences(
      from: results.tables(addressSpace: try StackAddressSpace()))
    #expect(
      differences == [], "`./kstacks claims` writes the page anew; then its prose is to be read again"
    )
  }

  @Test func `Figures come from the results that their columns name`() throws {
    func object(_ text: String) throws -> JSON { try JSON(parsing: text) }
    var results = ClaimResults()
    results.entries[.linux] = try ["contiguous", "vmap", "kernelstacks", "growing"].enumerated().map {
      index, kernel in
      try object(
        """
        {"kernel":"\(kernel)","freeBytes":\((index + 1) << 20),"largestFreeBlockBytes":8192,"forksAttempted":64,
         "forksSucceeded":\(index),"allocInstructions":\(index + 10),"worstFreeInstructions":\(index + 20),
         "threadsWithin4KiB":\(index + 30)}
        """)
    }
    results.entries[.forks] = [
      try object(
        """
        {"strategy":"vmalloc","stackBytes":12288,"freeBytesBefore":1048576,"freeBytesAtFailure":8192,"framesPerFork":2,
         "forksSucceeded":7,"largestFreeBlockBytes":4096,
         "frameMaps":{"before":"f20s1","atFailure":"u4s3p2t1f11","after":"f20s1"}}
        """)
    ]
    let tables = results.tables(addressSpace: nil)
    func cells(_ table: String, _ row: String) -> [String?]? {
      tables.first { $0.name == table }?.rows.first { $0.label == row }?.cells
    }
    #expect(cells("linux-run-time", "a stack, clearing included") == ["10", "11", "12", "13"])
    #expect(cells("linux-run-time", "the worst free") == ["20", "21", "22", "23"])
    #expect(cells("linux-depths", "never deeper than 4 KiB") == ["30", "31", "32"])
    #expect(cells("fragmentation", "Linux 6.1, its own vmalloc") == ["2 MiB", "8 KiB", "1 of 64", "-"])
    // As much is left as a fork takes: that is not less.
    #expect(cells("fragmentation", "vmalloc, 128 MiB") == ["1 MiB", "4 KiB", "7", "8 KiB"])
    #expect(cells("movable", "at the failure: movable (user memory)") == [nil, "4", nil])
    #expect(cells("movable", "unmovable: stacks") == [nil, "2", nil])
    #expect(cells("movable", "unmovable: page tables, task records") == [nil, "3", nil])
    #expect(cells("movable", "unmovable for each movable frame") == [nil, "1.25", nil])
    #expect(cells("accounting", "frames of stacks in the map of memory, at the failure") == [nil, "3", nil])
    #expect(cells("accounting", "frames of stacks in the allocator's accounts") == [nil, "3", nil])
  }

  @Test func `Every table and row has its figure and command`() throws {
    let page = try page()
    #expect(page.tableNames == shape.map(\.name))
    for table in shape {
      let rows = page.rows(of: table.name)
      #expect(rows.map(\.first) == table.rows.map(\.label), "\(table.name)")
      for (row, own) in zip(rows, table.rows) {
        #expect(row.count == own.cells.count + 2, "\(row)")
        #expect(!row.contains("?"), "\(row): a figure is missing")
        #expect(row.last == "`\(own.source.command)`")
      }
    }
  }

  @Test func `What the prose quotes stands in the next table`() throws {
    #expect(try page().unfoundedQuotations == [])
  }

  @Test func `Commands of the page can be typed`() throws {
    for source in ClaimSource.allCases where source.isRun {
      #expect(try !source.plans().isEmpty)
      let words = source.command.split(separator: " ").dropFirst(3).map(String.init)
      _ = try Kstacks.parseAsRoot(words)
    }
  }

  @Test func `Figures without a result stay as they are`() throws {
    var page = try page()
    let before = page.text
    page.replace(shape)
    #expect(page.text == before)
  }

  @Test(arguments: [
    ("1,757", "1,760", true), ("1,757", "1,700", false), ("50", "52", true), ("50", "53", false),
    ("0", "1", false), ("0 of 64", "0 of 64", true), ("62 MiB", "62 KiB", false), ("0.4 %", "0.5 %", true),
    ("0.4 %", "1.7 %", false), ("-", "0", false), ("none", "the process table", false),
    ("3.57", "3.7", false),
  ])
  func `Figures agree within two percent or two`(page: String, run: String, agree: Bool) {
    #expect(FigureText(page).agrees(with: FigureText(run)) == agree)
    #expect(FigureText(run).agrees(with: FigureText(page)) == agree)
  }

  @Test func `A difference names table, row and both figures`() throws {
    let table = ClaimTable("t", ["what", "a", "b"], [ClaimRow("row", .costs, ["1,000", nil])])
    var page = try ClaimPage("<!-- figures: t -->\n<!-- end of figures -->")
    #expect(page.differences(from: [table]) == [#"t: the page has no row "row""#])
    page.replace([table])
    #expect(page.rows(of: "t") == [["row", "1,000", "?", "`./kstacks bench`"]])
    let later = ClaimTable("t", ["what", "a", "b"], [ClaimRow("row", .costs, ["1,100", nil])])
    #expect(page.differences(from: [later]) == ["t, row: the page says 1,000, the run 1,100"])
    #expect(page.differences(from: [ClaimTable("u", ["what"], [])]) == ["the page has no table u"])
  }

  @Test func `A quoted figure that no table has is found`() throws {
    let text =
      "It takes **10**, not **11**.\n<!-- figures: t -->\n| a | b |\n|--|--|\n| x | 10 |\n<!-- end of figures -->"
    #expect(try ClaimPage(text).unfoundedQuotations == ["t: 11"])
    #expect(try ClaimPage(text + "\n**12**").unfoundedQuotations == ["t: 11", "after the last table: 12"])
  }

  @Test func `Results that are missing or truncated get a line`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("claims-\(UUID().uuidString)")
      .path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try "[{".write(toFile: "\(folder)/linux.json", atomically: true, encoding: .utf8)
    var problems: [String] = []
    let results = ClaimResults(folder: folder, problems: &problems)
    #expect(results.entries.isEmpty)
    #expect(problems.contains("linux.json is truncated or no result of KernelStacks"))
    #expect(problems.count == ClaimSource.allCases.count - 1)
  }
}
