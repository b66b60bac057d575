// JSON values: lines of the guest's console are read with their values, and files hold the values that were read.

import ImageTools
import Testing

@Suite struct JSONTests {
  @Test func `A line of the console is read as what it says`() throws {
    let line =
      #"{"type":"result","seed":1,"index":0.978,"firstFailure":null,"ok":true,"list":[1,-2,[]],"map":{"a":"r1f2"}}"#
    let value = try JSON(parsing: line)
    #expect(
      value
        == .object([
          "type": .string("result"), "seed": .integer(1), "index": .number(0.978), "firstFailure": .null,
          "ok": .bool(true), "list": .array([.integer(1), .integer(-2), .array([])]),
          "map": .object(["a": .string("r1f2")]),
        ]))
    #expect(value["map"]?["a"]?.string == "r1f2")
    #expect(value["seed"]?.number == 1)
    #expect(value["ok"]?.integer == nil, "true is no number")
    #expect(value["seed"]?.bool == nil, "1 is no truth value")
    #expect(value["absent"] == nil)
    #expect(value.removing(["type", "map"]).members?.count == 5)
  }

  @Test func `What is written reads back the same`() throws {
    let value = JSON.array([
      .object([
        "text": .string("a \"quoted\" \\ line\nwith\ttabs, \u{1}, a/b and ü 😀"),
        "large": .integer(Int.max), "fraction": .number(-0.125), "none": .null, "no": .bool(false),
        "empty": .array([]), "nested": .object(["x": .array([.object([:])])]),
      ])
    ])
    #expect(try JSON(parsing: value.formatted) == value)
  }

  @Test func `The same result is written the same each time`() throws {
    let line = #"{"zeta":1,"alpha":0.5,"mid":null,"beta":true}"#
    let texts = try (0..<8).map { _ in try JSON(parsing: line).formatted }
    #expect(Set(texts).count == 1)
    #expect(texts[0].split(separator: "\n").count == 6, "one member on a line")
  }

  @Test(arguments: ["", "{", #"{"a"}"#, #"{"a":1"#, "1 2", "{a:1}", "{type: result}", "{ nothing like it }"])
  func `What is no JSON is refused`(text: String) {
    #expect(throws: (any Error).self) { try JSON(parsing: text) }
  }
}
