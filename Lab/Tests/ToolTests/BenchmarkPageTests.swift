// Floors of operations, and the table of costs in a page.

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

  /// What the memory model counts of an operation.
  static let memory = """
    {"dataLines":4,"codeLines":6.531,"dataTranslations":3.000,"codeTranslations":2,"cores":{"cortex-a72":\
    {"warm":{"l1Data":0.25,"l1Code":0.01,"tlb":0},"cold":{"l2":12.345,"descriptors":7}}}}
    """

  @Test func `A row has the floor of its operation and strategy, or none`() throws {
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

  @Test func `The table is replaced and nothing else`() throws {
    let page = "# Costs\n\n<!-- figures: costs -->\nold\n<!-- end of figures -->\n\nend\n"
    let rows = [
      try Self.row("new", "vmalloc", 1712, more: #","limit":1800,"floor":65,"memory":\#(Self.memory)"#),
      try Self.row("old", "vmalloc", 12),
      try JSON(
        parsing: #"{"name":"memory","strategy":"vmalloc","instructions":null,"live":10,"bytesPerStack":65}"#),
    ]
    let text = try BenchmarkPage.replacing("costs", in: page, with: BenchmarkPage.costs(rows))
    #expect(
      text == """
        # Costs

        <!-- figures: costs -->
        | operation | strategy | live | instructions | floor | limit | TLB invalidations | data lines | code lines | translations | warm: lines missed | warm: translations missed | cold: lines from memory | cold: descriptors read |
        |-----------|----------|-----:|-------------:|------:|------:|------------------:|-----------:|-----------:|-------------:|-------------------:|--------------------------:|------------------------:|-----------------------:|
        | new       | vmalloc  |   10 |        1,712 |    65 | 1,800 |                 0 |          4 |        6.5 |            5 |                0.3 |                         0 |                    12.3 |                      7 |
        | old       | vmalloc  |   10 |           12 |       |       |                 0 |            |            |              |                    |                           |                         |                        |
        <!-- end of figures -->

        end

        """)
    #expect(try BenchmarkPage.replacing("costs", in: text, with: BenchmarkPage.costs(rows)) == text)
  }

  @Test func `Times of a host become ratios`() throws {
    let rows = try JSON(
      parsing: #"[{"name":"frame","machine":"host","nanoseconds":24.6,"nanosecondsInC":20}]"#)
    #expect(try BenchmarkPage.host(rows.array ?? []).rows == [["frame", "1.2"]])
  }

  @Test(arguments: [
    "[]", "[{}]", #"[{"name":"frame","nanoseconds":24.6}]"#,
    #"[{"name":"frame","nanoseconds":1,"nanosecondsInC":0}]"#,
  ])
  func `Times that are no times are refused`(file: String) throws {
    let rows = try #require(try JSON(parsing: file).array)
    #expect(throws: CommandError.self) { try BenchmarkPage.host(rows) }
  }

  @Test(arguments: [
    "<!-- figures: t -->", "<!-- end of figures -->", "<!-- figures: a -->\n<!-- figures: b -->",
    "<!-- end of figures -->\n<!-- figures: costs -->",
  ])
  func `A marker without its counterpart is an error`(text: String) {
    #expect(throws: MarkedPage.Malformed.self) { try MarkedPage(text) }
  }

  @Test(arguments: ["", "a <!-- figures: costs -->\n", "<!-- figures: host -->\n<!-- end of figures -->"])
  func `A page without the table is refused`(page: String) {
    #expect(throws: CommandError.self) {
      try BenchmarkPage.replacing("costs", in: page, with: BenchmarkPage.costs([]))
    }
  }
}
