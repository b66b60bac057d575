// A table of text, aligned for readers and valid as Markdown.

/// Rows of cells under a heading.
struct TextTable {
  var heading: [String]
  var rows: [[String]]
  /// The columns whose cells are numbers, which are aligned to the right.
  var numericColumns: Set<Int> = []

  /// The table's lines.
  var lines: [String] {
    let widths = heading.indices.map { column in
      ([heading] + rows).map { $0[column].count }.max() ?? 0
    }
    func line(_ cells: [String]) -> String {
      let padded = cells.enumerated().map { column, cell in
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        return numericColumns.contains(column) ? padding + cell : cell + padding
      }
      return "| " + padded.joined(separator: " | ") + " |"
    }
    let rule = widths.enumerated().map { column, width in
      numericColumns.contains(column)
        ? String(repeating: "-", count: width + 1) + ":" : String(repeating: "-", count: width + 2)
    }
    return [line(heading), "|" + rule.joined(separator: "|") + "|"] + rows.map(line)
  }
}
