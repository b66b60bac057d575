// Floors of operations, and the table of costs in a page.

#if Tools
  import ImageTools
  import Testing

  @testable import kstacks

  @Suite struct BenchmarkPageTests {
    static func row(_ name: String, _ strategy: String, _ instructions: Int, more: String = "") throws -> JSON {
      try JSON(
        parsing: """
          {"name":"\(name)","strategy":"\(strategy)","instructions":\(instructions),"tlbInvalidations":0,"live":10\(more)}
          """)
    }

    @Test func aRowHasTheFloorOfItsOperationAndStrategyOrNone() throws {
      let names = [
        ("free stack into cache", "vmalloc"), ("free stack into cache", "growing"),
        ("free stack into cache, in C", "growing"), ("free stack into cache, as in C", "vmalloc"),
        ("allocate frame", "linear"), ("free stack, cache full", "linear"),
        ("free stack, cache full, worst", "growing"),
      ]
      let floors = try names.map { benchmarkFloor(try Self.row($0.0, $0.1, 100)) }
      #expect(floors == [18, 21, 21, 18, 19, nil, nil])
      let rows = withFloors([
        try Self.row("allocate frame", "growing", 63), try Self.row("other", "growing", 1),
      ])
      #expect(rows.map { $0["floor"]?.integer } == [19, nil])
    }

    @Test func theTableIsReplacedAndNothingElse() throws {
      let page = "# Costs\n\n<!-- table -->\nold\n<!-- end of the table -->\n\nend\n"
      let rows = [
        try Self.row("new", "vmalloc", 1712, more: #","limit":1800,"floor":65"#),
        try JSON(
          parsing: #"{"name":"memory","strategy":"vmalloc","instructions":null,"live":10,"bytesPerStack":65}"#),
      ]
      let text = try BenchmarkPage.replacingTable(in: page, with: rows)
      #expect(
        text == """
          # Costs

          <!-- table -->

          | operation | strategy | live | instructions | floor | limit | TLB invalidations |
          |---|---|--:|--:|--:|--:|--:|
          | new | vmalloc | 10 | 1,712 | 65 | 1,800 | 0 |

          <!-- end of the table -->

          end

          """)
      #expect(try BenchmarkPage.replacingTable(in: text, with: rows) == text)
    }

    @Test(arguments: [
      "", "<!-- table -->\n", "<!-- end of the table -->\n<!-- table -->\n", "a <!-- table -->\n",
    ])
    func aPageWithoutTheMarkersIsRefused(page: String) {
      #expect(throws: CommandError.self) { try BenchmarkPage.replacingTable(in: page, with: []) }
    }
  }
#endif
