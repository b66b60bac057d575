// The reader and writer of JSON.

import ImageTools
import Testing

@Suite struct JSONTests {
  @Test func aLineOfTheConsoleKeepsTheOrderOfItsKeys() throws {
    let line =
      #"{"type":"result","seed":1,"index":0.978,"firstFailure":null,"ok":true,"list":[1,-2,[]],"map":{}}"#
    let value = try JSON(parsing: line)
    #expect(value.members?.map(\.key) == ["type", "seed", "index", "firstFailure", "ok", "list", "map"])
    #expect(value["seed"]?.integer == 1)
    #expect(value["index"]?.number == 0.978)
    #expect(value["firstFailure"] == .null)
    #expect(value["ok"]?.bool == true)
    #expect(value["list"]?.array == [.integer(1), .integer(-2), .array([])])
    #expect(value.removing("type").members?.first?.key == "seed")
  }

  @Test func whatIsWrittenReadsBackTheSame() throws {
    let value = JSON.array([
      .object([
        .init("text", .string("a \"quoted\" \\ line\nwith\ttabs, \u{1} and ü 😀")),
        .init("large", .integer(Int.max)),
        .init("fraction", .number(-0.125)), .init("none", .null), .init("no", .bool(false)),
        .init("empty", .array([])), .init("nested", .object([.init("x", .array([.object([])]))])),
      ])
    ])
    #expect(try JSON(parsing: value.formatted) == value)
  }

  @Test func escapesAreUnderstood() throws {
    #expect(try JSON(parsing: #""\u00fc\ud83d\ude00\n\/""#).string == "ü😀\n/")
  }

  @Test func formattingPutsOneMemberOnALine() {
    let value = JSON.array([.object([.init("a", .integer(1)), .init("b", .array([.null]))])])
    #expect(
      value.formatted == """
        [
          {
            "a": 1,
            "b": [
              null
            ]
          }
        ]
        """)
  }

  @Test(arguments: [
    "", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "[1,]", "[1", "tru", "\"open", "\"\\x\"", "\"\\ud800\"",
    "1 2", "+1",
    ".5", "--1", "nan", "{a:1}", "\u{1}",
  ])
  func whatIsNoJSONIsRefused(text: String) {
    #expect(throws: JSONError.self) { try JSON(parsing: text) }
  }

  @Test func deepNestingIsRefusedAndNotFollowed() {
    #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "[", count: 100_000)) }
  }
}
