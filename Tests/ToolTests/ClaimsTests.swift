// docs/claims.md says what is measured: its tables against fresh runs, its prose against its tables.

#if Tools
  import Foundation
  import ImageTools
  import SimulatedScenarios
  import Testing

  @testable import kstacks

  @Suite(.timeLimit(.minutes(5))) struct ClaimsTests {
    func page() throws -> ClaimPage {
      try ClaimPage(String(contentsOfFile: "\(try #require(PackageRoot.path))/docs/claims.md", encoding: .utf8))
    }

    /// Tables without any result: their names and rows.
    var shape: [ClaimTable] { ClaimResults().tables(addressSpace: nil) }

    @Test func thePageAgreesWithFreshRuns() async throws {
      guard Guest.isQemuInstalled else { return }
      var results = ClaimResults()
      for source in ClaimSource.allCases where source.isTested {
        results.entries[source] = try await ClaimsCommand.results(of: source)
      }
      let differences = try page().differences(
        from: results.tables(addressSpace: try StackAddressSpace()))
      #expect(
        differences == [], "`swift run kstacks claims` writes the page anew; then its prose is to be read again"
      )
    }

    @Test func everyTableAndRowHasItsFigureAndCommand() throws {
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

    @Test func whatTheProseQuotesStandsInTheNextTable() throws {
      #expect(try page().unfoundedQuotations == [])
    }

    @Test func commandsOfThePageCanBeTyped() throws {
      for source in ClaimSource.allCases where source.isRun {
        #expect(try !source.plans().isEmpty)
        let words = source.command.split(separator: " ").dropFirst(3).map(String.init)
        _ = try Kstacks.parseAsRoot(words)
      }
    }

    @Test func figuresWithoutAResultStayAsTheyAre() throws {
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
    func figuresAgreeWithinTwoPercentOrTwo(page: String, run: String, agree: Bool) {
      #expect(FigureText(page).agrees(with: FigureText(run)) == agree)
      #expect(FigureText(run).agrees(with: FigureText(page)) == agree)
    }

    @Test func aDifferenceNamesTableRowAndBothFigures() throws {
      let table = ClaimTable("t", ["what", "a", "b"], [ClaimRow("row", .costs, ["1,000", nil])])
      var page = try ClaimPage("<!-- figures: t -->\n<!-- end of figures -->")
      #expect(page.differences(from: [table]) == [#"t: the page has no row "row""#])
      page.replace([table])
      #expect(page.rows(of: "t") == [["row", "1,000", "?", "`swift run kstacks bench`"]])
      let later = ClaimTable("t", ["what", "a", "b"], [ClaimRow("row", .costs, ["1,100", nil])])
      #expect(page.differences(from: [later]) == ["t, row: the page says 1,000, the run 1,100"])
      #expect(page.differences(from: [ClaimTable("u", ["what"], [])]) == ["the page has no table u"])
    }

    @Test(arguments: [
      "<!-- figures: t -->", "<!-- end of figures -->", "<!-- figures: a -->\n<!-- figures: b -->",
    ])
    func aMarkerWithoutItsCounterpartIsAnError(text: String) {
      #expect(throws: ClaimPage.Malformed.self) { try ClaimPage(text) }
    }

    @Test func aQuotedFigureThatNoTableHasIsFound() throws {
      let text =
        "It takes **10**, not **11**.\n<!-- figures: t -->\n| a | b |\n|--|--|\n| x | 10 |\n<!-- end of figures -->"
      #expect(try ClaimPage(text).unfoundedQuotations == ["t: 11"])
      #expect(try ClaimPage(text + "\n**12**").unfoundedQuotations == ["t: 11", "after the last table: 12"])
    }

    @Test func resultsThatAreMissingOrTruncatedGetALine() throws {
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
#endif
