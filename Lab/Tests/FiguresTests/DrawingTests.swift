// The SVG writer: escaping, numbers, scales.

import Foundation
import Testing

@testable import Figures

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// Whether text is well-formed XML, and the text of the elements that have some.
func parsedXML(_ text: String) -> [String: [String]]? {
  final class Reader: NSObject, XMLParserDelegate {
    var texts: [String: [String]] = [:]
    var open: [String] = []
    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      open.append(name)
      for (key, value) in attributes { texts["\(name).\(key)", default: []].append(value) }
    }
    func parser(
      _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
    ) { open.removeLast() }
    func parser(_ parser: XMLParser, foundCharacters string: String) {
      texts[open.last ?? "", default: []].append(string)
    }
  }
  let reader = Reader()
  let parser = XMLParser(data: Data(text.utf8))
  parser.delegate = reader
  return parser.parse() ? reader.texts : nil
}

@Suite struct DrawingTests {
  @Test func `What XML reserves is escaped in text and in attributes`() throws {
    let hostile = "a<b> & \"c\" 'd' </text><script>alert(1)</script>\u{0}\u{1b}\u{7f}]]>"
    var drawing = Drawing(hostile, hostile, width: 10, height: 10)
    drawing.text(hostile, 1, 2)
    drawing.add("rect", ["data-x": hostile])
    for svg in [drawing.file, drawing.inline] {
      #expect(!svg.contains("<script"))
      let read = try #require(parsedXML(svg), "well-formed")
      let kept = "a<b> & \"c\" 'd' </text><script>alert(1)</script>]]>"
      #expect(read["rect.data-x"] == [kept])
      #expect(read["text"]?.joined() == kept)
    }
  }

  @Test(arguments: [
    (0.0, "0"), (1, "1"), (-0.001, "0"), (0.5, "0.5"), (1.25, "1.25"), (0.05, "0.05"), (-2.5, "-2.5"),
    (3.999, "4"),
    (.nan, "0"), (.infinity, "0"), (1e300, "0"),
  ]) func `Numbers are short and always numbers`(value: Double, text: String) { #expect(value.svgText == text) }

  @Test func `A picture has an alternative text`() throws {
    let drawing = Drawing("Map", "All of it.", width: 10, height: 10)
    #expect(drawing.inline.contains("role=\"img\" aria-label=\"Map. All of it.\""))
    let read = try #require(parsedXML(drawing.file))
    #expect(read["title"] == ["Map"])
    #expect(read["desc"] == ["All of it."])
  }

  @Test func `Every colour has a light and a dark rule`() {
    let halves = Role.styleSheet.components(separatedBy: "@media(prefers-color-scheme:dark)")
    #expect(halves.count == 2)
    for role in Role.allCases {
      for half in halves {
        #expect(half.contains(".f-\(role){fill:#") && half.contains(".s-\(role){stroke:#"))
      }
    }
  }
}

@Suite struct ScaleTests {
  @Test func `Labels keep their order and a distance`() {
    #expect(apart([10, 12, 50], by: 17) == [-5, 12, 50])
    #expect(apart([12, 10, 12], by: 17) == [-5, -22, 12])
    #expect(apart([], by: 17) == [])
  }

  @Test func `Values lie evenly between the ends`() {
    let scale = Scale(10, 20, from: 100, to: 300)
    #expect([10, 15, 20].map { scale($0) } == [100, 200, 300])
    #expect(scale(-5) == 100 && scale(99) == 300 && scale(.nan) == 100)
    #expect(Scale(0, 10, from: 300, to: 100)(10) == 100, "also downwards")
  }

  @Test func `Tenfold is the same distance on a logarithmic scale`() {
    let scale = Scale(10, 100_000, from: 0, to: 400, logarithmic: true)
    for (value, place) in [(10.0, 0.0), (100, 100), (1000, 200), (100_000, 400)] {
      #expect(abs(scale(value) - place) < 1e-9)
    }
    #expect(scale(0) == 0)
    #expect(scale.ticks().map { $0.rounded() } == [10, 100, 1000, 10_000, 100_000])
  }

  @Test(arguments: [(0.0, 62.0), (0, 2_880), (3, 3.9), (0, 1), (0, 7e11)])
  func `Ticks are round, few and within`(low: Double, high: Double) {
    let ticks = Scale(low, high, from: 0, to: 1).ticks()
    #expect((3...8).contains(ticks.count))
    #expect(ticks.allSatisfy { $0 >= low - 1e-9 && $0 <= high * (1 + 1e-9) })
    let step = ticks[1] - ticks[0]
    let leading = step / pow(10, log10(step).rounded(.down))
    #expect([1.0, 2, 5, 10].contains { abs($0 - leading) < 1e-6 })
  }

  @Test func `A scale without extent still has places`() {
    for scale in [
      Scale(5, 5, from: 0, to: 10), Scale(9, 3, from: 0, to: 10), Scale(.nan, .infinity, from: 0, to: 10),
      Scale(0, 0, from: 0, to: 10, logarithmic: true),
    ] {
      #expect(scale(5).isFinite)
      #expect(scale.ticks().allSatisfy { $0.isFinite })
    }
  }
}
