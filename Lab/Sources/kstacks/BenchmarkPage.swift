// The table of docs/benchmarks.md, written between its markers from the rows of a run.

import Figures
import ImageTools

/// A page of Markdown with a table of costs between two markers.
enum BenchmarkPage {
  static let begin = "<!-- table -->"
  static let end = "<!-- end of the table -->"

  /// The table: one line for each row that counts instructions.
  static func table(_ rows: [JSON]) -> [String] {
    let heading = "| operation | strategy | live | instructions | floor | limit | TLB invalidations |"
    return [heading, "|---|---|--:|--:|--:|--:|--:|"]
      + rows.filter { $0["instructions"]?.integer != nil }.map { row in
        let cells = ["live", "instructions", "floor", "limit", "tlbInvalidations"].map { key in
          row[key]?.integer.map { grouped($0) } ?? ""
        }
        return "| \(row["name"]?.string ?? "?") | \(row["strategy"]?.string ?? "?") | "
          + cells.joined(separator: " | ") + " |"
      }
  }

  /// The page with the table of these rows.
  ///
  /// - Throws: an error if the page lacks one of the markers, each on a line of its own, in their order.
  static func replacingTable(in page: String, with rows: [JSON]) throws(CommandError) -> String {
    let lines = page.split(separator: "\n", omittingEmptySubsequences: false).map { String($0) }
    guard let first = lines.firstIndex(of: begin), let last = lines.firstIndex(of: end), first < last else {
      throw CommandError("the page has no table between \(begin) and \(end)")
    }
    return (lines[...first] + [""] + table(rows) + [""] + lines[last...]).joined(separator: "\n")
  }
}
