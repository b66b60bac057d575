// The output at the end of a run: pictures, table, closing sentence.

import Figures
import ImageTools

/// The lines about results and measurements.
///
/// - Parameter succeeded: whether all checks held; if not, there is no closing sentence.
func reportLines(
  scenario: String, results: [JSON], benchmarks: [JSON], succeeded: Bool, inColour: Bool
) -> [String] {
  var lines: [String] = []
  // For many seeds the table suffices.
  let isOneSeed = Set(results.map { $0["strategy"]?.string }).count == results.count
  let pictures = isOneSeed ? pictureLines(results, inColour: inColour) : []
  if !pictures.isEmpty { lines += [""] + pictures }
  if !results.isEmpty {
    lines += [""] + resultTable(results).lines
    lines += depthLines(results)
    if let waits = lockWaitTable(results) { lines += [""] + waits.lines }
    // A picture's title already quotes the refusal.
    if pictures.isEmpty && isOneSeed { lines += refusalLines(results) }
  }
  if !benchmarks.isEmpty {
    lines += [""] + benchmarkTable(benchmarks).lines
    if scenario == "bench" {
      lines += [
        "Instructions: the mean of 1,024 operations, or the worst; clearing is not part of an allocation's.",
        "TLB invalidations: of all 1,024 together.",
      ]
    }
  }
  lines.append("")
  if !results.isEmpty && succeeded { lines.append(closingSentence(scenario: scenario, results: results)) }
  return lines
}

/// The first refusal of each strategy that had one.
private func refusalLines(_ results: [JSON]) -> [String] {
  let lines = results.compactMap { result -> String? in
    guard let strategy = result["strategy"]?.string, let failure = result["firstFailure"]?.string else {
      return nil
    }
    return "\(strategy), first failure: \(failure)"
  }
  return lines.isEmpty ? [] : [""] + lines
}
