// A page of Markdown: prose, and tables that are made of results.
//
//     <!-- figures: run-time -->          the lines between these two are replaced
//     | instructions | linear | ...
//     <!-- end of figures -->

/// A page, divided into prose and the tables between markers, each marker on a line of its own.
struct MarkedPage {
  /// The reason why a page cannot be read.
  struct Malformed: Error { let reason: String }

  enum Part {
    case prose([String])
    case table(name: String, lines: [String])
  }

  private(set) var parts: [Part] = []

  /// Divides a text into prose and tables.
  ///
  /// - Throws: `Malformed` if a marker lacks its counterpart.
  init(_ text: String) throws(Malformed) {
    var prose: [String] = []
    var table: (name: String, lines: [String])?
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
      if let name = Self.name(inMarker: line) {
        if let table { throw Malformed(reason: "the table \(table.name) has no end") }
        parts.append(.prose(prose))
        prose = []
        table = (name, [])
      } else if line == Self.endMarker {
        guard let ended = table else { throw Malformed(reason: "there is an end without a beginning") }
        parts.append(.table(name: ended.name, lines: ended.lines))
        table = nil
      } else if table != nil {
        table!.lines.append(line)
      } else {
        prose.append(line)
      }
    }
    if let table { throw Malformed(reason: "the table \(table.name) has no end") }
    parts.append(.prose(prose))
  }

  private static let endMarker = "<!-- end of figures -->"
  private static func marker(_ name: String) -> String { "<!-- figures: \(name) -->" }
  private static func name(inMarker line: String) -> String? {
    let (start, end) = ("<!-- figures: ", " -->")
    guard line.hasPrefix(start), line.hasSuffix(end), line.count > start.count + end.count else { return nil }
    return String(line.dropFirst(start.count).dropLast(end.count))
  }

  /// The page as text.
  var text: String {
    parts.flatMap { part -> [String] in
      switch part {
      case .prose(let lines): lines
      case .table(let name, let lines): [Self.marker(name)] + lines + [Self.endMarker]
      }
    }.joined(separator: "\n")
  }

  /// The names of the tables, in their order.
  var tableNames: [String] {
    parts.compactMap { if case .table(let name, _) = $0 { name } else { nil } }
  }

  /// The lines of the first table of this name; none if the page has no such table.
  func lines(of name: String) -> [String] {
    for case .table(name, let lines) in parts { return lines }
    return []
  }

  /// Replaces the lines of each table of this name.
  mutating func replace(_ name: String, with lines: [String]) {
    for (index, part) in parts.enumerated() {
      if case .table(name, _) = part { parts[index] = .table(name: name, lines: lines) }
    }
  }
}
