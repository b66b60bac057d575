// A table of docs/claims.md, made of results.

import Figures
import ImageTools

/// Rows of figures with the command that each comes from.
struct ClaimTable {
  /// Its name in the page.
  let name: String
  let heading: [String]
  var rows: [ClaimRow]

  init(_ name: String, _ heading: [String], _ rows: [ClaimRow]) {
    self.name = name
    self.heading = heading
    self.rows = rows
  }

  /// The table as Markdown.
  ///
  /// - Parameter old: the rows of the page; their figures stay where there is no result.
  func lines(keeping old: [[String]] = []) -> [String] {
    TextTable(
      heading: heading + ["command"],
      rows: rows.map { row in
        let standing = old.first { $0.first == row.label }
        let cells = row.cells.enumerated().map { index, cell -> String in
          if let cell { return cell }
          return standing.flatMap { index + 1 < $0.count - 1 ? $0[index + 1] : nil } ?? "?"
        }
        return [row.label] + cells + ["`\(row.source.command)`"]
      }, numericColumns: Set(1..<heading.count)
    ).lines
  }
}

/// One row of a table.
struct ClaimRow {
  let label: String
  let source: ClaimSource
  /// A figure for each column; `nil` if it has no result.
  let cells: [String?]

  init(_ label: String, _ source: ClaimSource, _ cells: [String?]) {
    self.label = label
    self.source = source
    self.cells = cells
  }
}

/// The forms of figures on the page.
enum ClaimFigure {
  static func count(_ value: JSON?) -> String? { value?.integer.map { grouped($0) } }
  static func bytes(_ value: JSON?) -> String? { value?.integer.map { readable(byteCount: $0) } }

  /// A share in percent with one decimal place.
  static func percent(_ part: Int, of whole: Int) -> String {
    let permille = whole == 0 ? 0 : (part * 1000 + whole / 2) / whole
    return "\(permille / 10).\(permille % 10) %"
  }

  /// A count among others, as in `0 of 64`.
  static func count(_ value: JSON?, of whole: JSON?) -> String? {
    guard let value = value?.integer, let whole = whole?.integer else { return nil }
    return "\(grouped(value)) of \(grouped(whole))"
  }
}
