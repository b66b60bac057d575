// A picture as SVG: elements are drawn in the order in which they are added.

/// A value of an attribute.
public protocol SVGValue {
  /// The value as text, not yet escaped.
  var svgText: String { get }
}

extension String: SVGValue {
  /// The string itself.
  public var svgText: String { self }
}

extension Int: SVGValue {
  /// The number in decimal.
  public var svgText: String { "\(self)" }
}

extension Double: SVGValue {
  /// The number with at most two decimal places, without trailing zeros; 0 if it is not finite.
  public var svgText: String {
    guard isFinite, magnitude < 1e15 else { return "0" }
    let hundredths = Int((self * 100).rounded())
    let (whole, part) = (abs(hundredths) / 100, abs(hundredths) % 100)
    let sign = hundredths < 0 ? "-" : ""
    if part == 0 { return "\(sign)\(whole)" }
    return part % 10 == 0 ? "\(sign)\(whole).\(part / 10)" : "\(sign)\(whole).\(part < 10 ? "0" : "")\(part)"
  }
}

/// An SVG picture with its alternative text.
public struct Drawing: Sendable {
  /// The title, a few words.
  public let title: String
  /// The alternative text: what the picture shows.
  public let summary: String
  /// The width, in units of the picture.
  public let width: Double
  /// The height, in units of the picture.
  public private(set) var height: Double
  /// The elements so far.
  public private(set) var body = ""

  /// Makes an empty picture.
  public init(_ title: String, _ summary: String, width: Double, height: Double) {
    (self.title, self.summary, self.width, self.height) = (title, summary, width, height)
  }

  /// Adds an element, with or without text between its tags.
  public mutating func add(
    _ name: String, _ attributes: KeyValuePairs<String, any SVGValue>, text: String? = nil
  ) {
    body += "<\(name)"
    for (key, value) in attributes { body += " \(key)=\"\(escaped(value.svgText))\"" }
    body += text.map { ">\(escaped($0))</\(name)>" } ?? "/>"
    body += "\n"
  }

  /// Adds elements that share attributes.
  public mutating func group(
    _ attributes: KeyValuePairs<String, any SVGValue>, _ content: (inout Drawing) -> Void
  ) {
    body += "<g"
    for (key, value) in attributes { body += " \(key)=\"\(escaped(value.svgText))\"" }
    body += ">\n"
    content(&self)
    body += "</g>\n"
  }

  /// Adds a filled rectangle, by its top left corner.
  public mutating func rectangle(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, fill: Role, radius: Double = 0
  ) {
    add("rect", ["class": "f-\(fill)", "x": x, "y": y, "width": width, "height": height, "rx": radius])
  }

  /// Adds a straight line.
  public mutating func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, stroke: Role, width: Double = 1,
    dashed: Bool = false
  ) {
    add(
      "path",
      [
        "class": "s-\(stroke)\(dashed ? " dashed" : "")", "stroke-width": width,
        "d": "M\(x1.svgText) \(y1.svgText)L\(x2.svgText) \(y2.svgText)",
      ])
  }

  /// Adds a line through points; nothing if there are none.
  public mutating func polyline(_ points: [(Double, Double)], stroke: Role, width: Double = 2.5) {
    guard let first = points.first else { return }
    var path = "M\(first.0.svgText) \(first.1.svgText)"
    for point in points.dropFirst() { path += "L\(point.0.svgText) \(point.1.svgText)" }
    add("path", ["class": "s-\(stroke)", "stroke-width": width, "stroke-linejoin": "round", "d": path])
  }

  /// Adds a filled circle.
  public mutating func circle(_ x: Double, _ y: Double, radius: Double, fill: Role) {
    add("circle", ["class": "f-\(fill)", "cx": x, "cy": y, "r": radius])
  }

  /// The point of a text that its coordinates give.
  public enum Anchor: String, Sendable { case start, middle, end }

  /// Adds a line of text; `x` and `y` give its anchor on the base line.
  public mutating func text(
    _ text: String, _ x: Double, _ y: Double, size: Double = 13, fill: Role = .text, anchor: Anchor = .start,
    bold: Bool = false
  ) {
    add(
      "text",
      [
        "class": "f-\(fill)\(bold ? " bold" : "")", "x": x, "y": y, "font-size": size,
        "text-anchor": anchor.rawValue,
      ], text: text)
  }

  private var alternative: String { escaped("\(title). \(summary)") }

  /// The picture as an element of a page that has the style sheet.
  public var inline: String {
    "<svg viewBox=\"0 0 \(width.svgText) \(height.svgText)\" role=\"img\" aria-label=\"\(alternative)\">\n\(body)</svg>\n"
  }

  /// The picture as a file of its own.
  public var file: String {
    """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(width.svgText) \(height.svgText)" \
    width="\(width.svgText)" height="\(height.svgText)" role="img">
    <title>\(escaped(title))</title>
    <desc>\(escaped(summary))</desc>
    <style>\(Role.styleSheet)</style>
    <rect class="f-page" width="100%" height="100%"/>
    \(body)</svg>

    """
  }
}

/// The text escaped for XML and HTML, in an element or an attribute, without the characters that XML forbids.
public func escaped(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    case "'": result += "&#39;"
    case "\t", "\n", "\r": result += " "
    case "\u{0}"..<"\u{20}", "\u{7f}"..<"\u{a0}", "\u{fffe}", "\u{ffff}": break
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}
