// The closing sentence of a run, computed from its results.

import ImageTools

/// The sentence for a scenario's results, one per strategy and seed.
public func closingSentence(scenario: String, results: [JSON]) -> String {
  var strategies: [String] = []
  for result in results {
    let strategy = result["strategy"]?.string ?? "?"
    if !strategies.contains(strategy) { strategies.append(strategy) }
  }
  guard scenario == "fragmented-fork", results.count == strategies.count, let first = results.first,
    let free = first["freeBytesBefore"]?.integer,
    let largest = first["largestFreeBlockBytes"]?.integer
  else {
    let stacks = "\(listed(strategies)) stacks"
    let seeds = results.count / max(1, strategies.count)
    let seedNote = seeds > 1 ? ", with each of \(seeds) seeds" : ""
    if results.contains(where: { $0["stallReported"] != nil }) {
      return "\(scenario): the liveness condition was broken, and the stall was reported\(seedNote)."
    }
    return "\(scenario): every check held with \(stacks)\(seedNote)."
  }
  let outcomes = results.enumerated().map { index, result in
    let name = strategies[index] == "linear" ? "contiguous" : strategies[index]
    return "\(name) stacks, \(counted(result["forksSucceeded"]?.integer ?? 0, "fork"))"
  }
  return "\(readable(byteCount: free)) free, largest block \(readable(byteCount: largest)): "
    + outcomes.joined(separator: "; ") + "."
}
