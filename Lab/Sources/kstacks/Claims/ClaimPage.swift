// docs/claims.md: its tables beside fresh results, and the figures that its prose quotes.

import Figures

/// The page of claims.
struct ClaimPage {
  private var page: MarkedPage

  /// Divides a text into prose and tables.
  ///
  /// - Throws: `Malformed` if a marker lacks its counterpart.
  init(_ text: String) throws(MarkedPage.Malformed) { page = try MarkedPage(text) }

  /// The page as text.
  var text: String { page.text }

  /// The names of its tables.
  var tableNames: [String] { page.tableNames }

  /// The cells of a table's rows, without its heading.
  func rows(of name: String) -> [[String]] {
    page.lines(of: name).dropFirst(2).map(Self.cells)
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
    for table in tables { page.replace(table.name, with: table.lines(keeping: rows(of: table.name))) }
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
          if !FigureText(stands).agrees(with: FigureText(cell), withinPercent: row.source.percentOfTolerance) {
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
    for part in page.parts {
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
