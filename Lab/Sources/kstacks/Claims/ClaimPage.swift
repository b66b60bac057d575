// docs/claims.md: prose, and tables that are made of results.
//
//     <!-- figures: run-time -->          the table between these two lines is replaced
//     | instructions | linear | ...
//     <!-- end of figures -->

#if Tools
  import Figures

  /// The page, divided into prose and tables.
  struct ClaimPage {
    /// The reason why a page cannot be read.
    struct Malformed: Error { let reason: String }

    private enum Part {
      case prose([String])
      case table(name: String, lines: [String])
    }
    private var parts: [Part] = []

    /// Divides a text into prose and tables.
    ///
    /// - Throws: `Malformed` if a marker lacks its counterpart.
    init(_ text: String) throws(Malformed) {
      var prose: [String] = []
      var table: (name: String, lines: [String])?
      for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
        if let name = Self.name(inMarker: line) {
          guard table == nil else { throw Malformed(reason: "the table \(table!.name) has no end") }
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

    /// The names of its tables.
    var tableNames: [String] {
      parts.compactMap { if case .table(let name, _) = $0 { name } else { nil } }
    }

    /// The cells of a table's rows, without its heading.
    func rows(of name: String) -> [[String]] {
      for case .table(name, let lines) in parts { return lines.dropFirst(2).map(Self.cells) }
      return []
    }

    private static func cells(_ line: String) -> [String] {
      line.split(separator: "|").map { cell in
        var cell = cell
        while cell.first == " " { cell.removeFirst() }
        while cell.last == " " { cell.removeLast() }
        return String(cell)
      }
    }

    /// Replaces the tables; a figure without a result stays.
    mutating func replace(_ tables: [ClaimTable]) {
      for (index, part) in parts.enumerated() {
        guard case .table(let name, _) = part, let table = tables.first(where: { $0.name == name }) else {
          continue
        }
        parts[index] = .table(name: name, lines: table.lines(keeping: rows(of: name)))
      }
    }

    /// The differences between the page and fresh results, one line each.
    ///
    /// Figures without a fresh result are not compared.
    func differences(from tables: [ClaimTable]) -> [String] {
      var found: [String] = []
      for table in tables {
        guard tableNames.contains(table.name) else {
          found.append("the page has no table \(table.name)")
          continue
        }
        let standing = rows(of: table.name)
        for row in table.rows {
          guard let old = standing.first(where: { $0.first == row.label }) else {
            found.append("\(table.name): the page has no row \"\(row.label)\"")
            continue
          }
          for (index, cell) in row.cells.enumerated() {
            guard let cell else { continue }
            let stands = index + 1 < old.count ? old[index + 1] : "nothing"
            if !FigureText(stands).agrees(with: FigureText(cell), withinPercent: row.source.percentOfTolerance)
            {
              found.append("\(table.name), \(row.label): the page says \(stands), the run \(cell)")
            }
          }
        }
      }
      return found
    }

    /// The figures in bold in the prose before each table that are not in that table.
    ///
    /// Prose that quotes a figure sets it in bold, above its table.
    var unfoundedQuotations: [String] {
      var found: [String] = []
      var bold: [String] = []
      for part in parts {
        switch part {
        case .prose(let lines):
          let pieces = lines.joined(separator: " ").components(separatedBy: "**")
          bold += pieces.enumerated().filter { $0.offset % 2 == 1 && $0.element.contains(where: \.isNumber) }
            .map(\.element)
        case .table(let name, let lines):
          let cells = Set(lines.flatMap(Self.cells))
          found += bold.filter { !cells.contains($0) }.map { "\(name): \($0)" }
          bold = []
        }
      }
      return found + bold.map { "after the last table: \($0)" }
    }
  }
#endif
