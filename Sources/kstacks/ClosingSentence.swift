// The one sentence that a run ends with, computed from its results.

import ImageTools

/// The sentence for a scenario's results, one per strategy; all its figures are the results' own.
func closingSentence(scenario: String, results: [JSON]) -> String {
  let strategies = results.map { $0["strategy"]?.string ?? "?" }
  guard scenario == "fragmented-fork", let first = results.first, let free = first["freeBytesBefore"]?.integer,
    let largest = first["largestFreeBlockBytes"]?.integer
  else {
    let stacks =
      strategies.count == 1 ? "\(strategies[0]) stacks" : strategies.joined(separator: " and ") + " stacks"
    return "\(scenario): every check held with \(stacks)."
  }
  let outcomes = results.enumerated().map { index, result in
    let name = strategies[index] == "linear" ? "contiguous" : strategies[index]
    return "\(name) stacks, \(counted(result["forksSucceeded"]?.integer ?? 0, "fork"))"
  }
  return "\(readable(byteCount: free)) free, largest block \(readable(byteCount: largest)): "
    + outcomes.joined(separator: "; ") + "."
}
