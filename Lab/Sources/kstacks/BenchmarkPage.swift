// The tables of docs/benchmarks.md: the rows of a run, and the times of a host.

import Figures
import ImageTools

/// A page of Markdown with tables of costs.
enum BenchmarkPage {
  /// The table `costs`: one line for each row that counts instructions, with what the memory model counted of it.
  static func costs(_ rows: [JSON]) -> TextTable {
    TextTable(
      heading: ["operation", "strategy", "live", "instructions", "floor", "limit", "TLB invalidations"]
        + MemoryColumn.all.map(\.heading),
      rows: rows.filter { $0["instructions"]?.integer != nil }.map { row in
        let cells = ["live", "instructions", "floor", "limit", "tlbInvalidations"].map { key in
          row[key]?.integer.map { grouped($0) } ?? ""
        }
        let names: [String] = [row["name"]?.string ?? "?", row["strategy"]?.string ?? "?"]
        return names + cells + MemoryColumn.all.map { $0.cell(row) }
      }, numericColumns: Set(2...6 + MemoryColumn.all.count))
  }

  /// The table `host`: the nanoseconds of each operation in Swift divided by those in C, to a tenth.
  ///
  /// - Throws: an error if there is no row, or one lacks its name or one of its times.
  static func host(_ rows: [JSON]) throws(CommandError) -> TextTable {
    if rows.isEmpty { throw CommandError("the file has no times of this computer") }
    var cells: [[String]] = []
    for row in rows {
      guard let name = row["name"]?.string, let swift = row["nanoseconds"]?.number,
        let c = row["nanosecondsInC"]?.number, swift > 0, c > 0
      else { throw CommandError("the times of this computer are no rows of Scripts/bench-host") }
      let tenths = Int((swift / c * 10).rounded())
      cells.append([name, "\(tenths / 10).\(tenths % 10)"])
    }
    return TextTable(
      heading: ["allocate and free, time on a host", "Swift / C"], rows: cells, numericColumns: [1])
  }

  /// The page with another table.
  ///
  /// - Throws: an error if the page has no table of that name between its markers.
  static func replacing(_ name: String, in page: String, with table: TextTable) throws(CommandError) -> String {
    var marked: MarkedPage
    do {
      marked = try MarkedPage(page)
    } catch { throw CommandError("the page cannot be read: \(error.reason)") }
    guard marked.tableNames.contains(name) else { throw CommandError("the page has no table \(name)") }
    marked.replace(name, with: table.lines)
    return marked.text
  }
}
