// JSON lines: read back by another implementation, they give the written values.

import Foundation
import KernelStacks
import Scenarios
import SimulatedScenarios
import Testing

@Suite struct JSONWriterTests {
  private struct Words: TextDescribable {
    var bytes: [UInt8]
    func write<Sink: TextSink>(to sink: inout Sink) { for byte in bytes { sink.write(byte: byte) } }
  }

  private func read(_ write: (inout JSONWriter<LineConsole>) -> Void) throws -> [String: Any] {
    var lines: [String] = []
    var json = JSONWriter(LineConsole { lines.append($0) })
    json.begin("test")
    write(&json)
    json.end()
    #expect(lines.count == 1)
    #expect(lines[0].hasPrefix("{\"type\":\"test\""))
    return try #require(try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as? [String: Any])
  }

  @Test func `Every kind of value comes back`() throws {
    let object = try read { json in
      json.field("negative", -42)
      json.field("largest", UInt64.max)
      json.field("truth", true)
      json.field("text", "a \"quoted\" \\ line\n")
      json.nullField("nothing")
      json.beginObject("inner")
      json.field("first", 1)
      json.field("second", 2)
      json.endObject()
      json.field("last", 3)
    }
    #expect(object["negative"] as? Int == -42)
    #expect(object["largest"] as? UInt64 == .max)
    #expect(object["truth"] as? Bool == true)
    #expect(object["text"] as? String == "a \"quoted\" \\ line\n")
    #expect(object["nothing"] is NSNull)
    #expect(object["inner"] as? [String: Int] == ["first": 1, "second": 2])
    #expect(object["last"] as? Int == 3)
  }

  @Test func `Every byte below 128 is escaped if it must be`() throws {
    let bytes = Array(0...127 as ClosedRange<UInt8>)
    let object = try read { $0.field("all", describing: Words(bytes: bytes)) }
    #expect(object["all"] as? String == String(decoding: bytes, as: UTF8.self))
  }

  @Test(arguments: [(0, 0.0), (7, 0.007), (50, 0.05), (372, 0.372), (1000, 1.0)])
  func `Thousandths keep their zeroes`(_ permille: Int, _ value: Double) throws {
    #expect(try read { $0.field("share", permille: permille) }["share"] as? Double == value)
  }
}
