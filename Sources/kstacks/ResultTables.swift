// The tables that show results of scenarios.

import ImageTools

/// The table for a scenario's results, one per strategy.
func resultTable(_ results: [JSON]) -> TextTable {
  if results.allSatisfy({ $0["forksSucceeded"] != nil && $0["freeBytesBefore"] != nil }) {
    return forkTable(results)
  }
  return comparisonTable(results)
}

/// One row for each strategy, in words and units.
private func forkTable(_ results: [JSON]) -> TextTable {
  func bytes(_ value: JSON?) -> String { value?.integer.map { readable(byteCount: $0) } ?? "?" }
  func number(_ value: JSON?) -> String {
    if let integer = value?.integer { return grouped(integer) }
    return value?.number.map { "\($0)" } ?? "?"
  }
  return TextTable(
    heading: [
      "strategy", "free before", "largest block", "forks", "free at failure", "stack memory", "frames per fork",
      "leaked frames",
    ],
    rows: results.map { result in
      [
        result["strategy"]?.string ?? "?", bytes(result["freeBytesBefore"]),
        bytes(result["largestFreeBlockBytes"]),
        number(result["forksSucceeded"]), bytes(result["freeBytesAtFailure"]), bytes(result["stackBytes"]),
        result["forksSucceeded"]?.integer == 0 ? "-" : number(result["framesPerFork"]),
        number(result["leakedFrames"]),
      ]
    }, numericColumns: Set(1...7))
}

/// One row for each measured key that is a plain value, one column for each strategy.
private func comparisonTable(_ results: [JSON]) -> TextTable {
  let hidden: Set<String> = [
    "type", "scenario", "machine", "strategy", "seed", "memoryBytes", "addressBits", "stackSizeBytes",
    "firstFailure",
  ]
  var keys: [String] = []
  for result in results {
    for member in result.members ?? [] where !hidden.contains(member.key) && !keys.contains(member.key) {
      switch member.value {
      case .array, .object: break
      default: keys.append(member.key)
      }
    }
  }
  return TextTable(
    heading: [""] + results.map { $0["strategy"]?.string ?? "?" },
    rows: keys.map { key in [key] + results.map { text($0[key], key: key) } },
    numericColumns: Set(1..<results.count + 1))
}

/// Costs of operations: one row for each operation, strategy and number of live stacks.
///
/// What a row does not measure is a dash: instructions in the row about memory, or on a machine that cannot count them.
func benchmarkTable(_ benchmarks: [JSON]) -> TextTable {
  let counts = benchmarks.contains { $0["instructions"]?.integer ?? 0 > 0 }
  let hasMemory = benchmarks.contains { $0["bytesPerStack"] != nil }
  let rows = benchmarks.map { row -> [String] in
    let isMemory = row["bytesPerStack"] != nil
    var cells = [
      row["name"]?.string ?? "?", row["strategy"]?.string ?? "?", text(row["live"]),
      counts && !isMemory ? text(row["instructions"]) : "-", isMemory ? "-" : text(row["tlbInvalidations"]),
    ]
    if hasMemory { cells.append(isMemory ? memoryPerStack(row) : "-") }
    return cells
  }
  return TextTable(
    heading: ["operation", "strategy", "live", "instructions", "TLB invalidations"]
      + (hasMemory ? ["memory per stack"] : []),
    rows: rows, numericColumns: Set(2...5))
}

/// `65 bytes (0.3 %)`.
private func memoryPerStack(_ row: JSON) -> String {
  let bytes = row["bytesPerStack"]?.integer ?? 0
  let permille = Int((row["shareOfStack"]?.number ?? 0) * 1000 + 0.5)
  return "\(readable(byteCount: bytes)) (\(permille / 10).\(permille % 10) %)"
}

private func text(_ value: JSON?, key: String = "") -> String {
  switch value {
  case nil: "?"
  case .null: "-"
  case .bool(let flag): flag ? "yes" : "no"
  case .integer(let number): key.hasSuffix("Bytes") ? readable(byteCount: number) : grouped(number)
  case .number(let number): "\(number)"
  case .string(let text): text
  case .array, .object: "…"
  }
}
