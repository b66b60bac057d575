// The depths of threads: a histogram, and the deepest threads.

import Figures
import ImageTools

/// The lines about high-water marks, separate for each strategy, of results that have them.
func depthLines(_ results: [JSON]) -> [String] {
  var lines: [String] = []
  for result in results {
    guard let histogram = result["highWaterHistogram"]?.array?.map({ $0.integer ?? 0 }) else { continue }
    let strategy = result["strategy"]?.string ?? "?"
    lines += ["", "High-water marks of \(counted(histogram.reduce(0, +), "\(strategy) stack")), in KiB:"]
    lines += histogramLines(histogram)
    if let stacks = result["stacks"]?.array { lines += [""] + deepestTable(stacks).lines + rest(stacks) }
  }
  return lines
}

/// The number of threads in the table.
private let shownThreads = 8

/// One line for each bucket up to the last that is not empty.
private func histogramLines(_ histogram: [Int]) -> [String] {
  let largest = max(1, histogram.max() ?? 1)
  let end = (histogram.lastIndex { $0 > 0 } ?? -1) + 1
  return histogram[..<end].enumerated().map { index, count in
    let range = "\(padded(index, 3))…\(padded(index + 1, 2))"
    // A count above 0 has at least one mark.
    let marks = count == 0 ? 0 : max(1, count * 40 / largest)
    return "\(range) \(padded(count, 7)) \(String(repeating: "#", count: marks))".trimmingSuffix(of: " ")
  }
}

private func deepestTable(_ stacks: [JSON]) -> TextTable {
  func bytes(_ stack: JSON) -> Int { stack["highWaterBytes"]?.integer ?? 0 }
  let deepest = stacks.sorted { bytes($0) > bytes($1) }.prefix(shownThreads)
  return TextTable(
    heading: ["deepest threads", "mapped pages", "bytes used"],
    rows: deepest.map { stack in
      [stack["thread"]?.integer ?? 0, stack["mappedPages"]?.integer ?? 0, bytes(stack)].map(grouped)
    }, numericColumns: [0, 1, 2])
}

private func rest(_ stacks: [JSON]) -> [String] {
  stacks.count > shownThreads ? ["(all \(grouped(stacks.count)) are in the results)"] : []
}

private func padded(_ number: Int, _ width: Int) -> String {
  let text = grouped(number)
  return String(repeating: " ", count: max(0, width - text.count)) + text
}

extension String {
  fileprivate func trimmingSuffix(of character: Character) -> String {
    String(reversed().drop { $0 == character }.reversed())
  }
}
