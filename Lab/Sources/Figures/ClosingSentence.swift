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
  if let report = first["report"] {
    // The case of a person whose log it is: what the very same memory would have done.
    let place = report["zone"]?.string.map { "zone \($0)" } ?? "its zone"
    let forks = results.enumerated().map { index, result in
      let name = strategies[index] == "linear" ? "contiguous stacks" : strategies[index]
      return "\(name): \(counted(result["forksSucceeded"]?.integer ?? 0, "fork"))"
    }
    let factor = report["factor"]?.integer ?? 1
    return
      "On this machine (\(place), \(readable(byteCount: free)) usable, in pieces of \(readable(byteCount: largest)) at most"
      + (factor > 1 ? ", all counts divided by \(factor)" : "") + ") \(forks.joined(separator: "; "))."
  }
  return "\(readable(byteCount: free)) free, largest block \(readable(byteCount: largest)): "
    + outcomes.joined(separator: "; ") + "."
}
