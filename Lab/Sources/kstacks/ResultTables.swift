// The tables that show results of scenarios.

import Figures
import ImageTools

/// The table for a scenario's results, one per strategy.
func resultTable(_ results: [JSON]) -> TextTable {
  if results.allSatisfy({ $0["forksSucceeded"] != nil && $0["freeBytesBefore"] != nil }) {
    return forkTable(results)
  }
  if Set(results.map { $0["strategy"]?.string }).count < results.count { return seedTable(results) }
  if results.count == 1, let workloads = results[0]["workloads"]?.members { return workloadTable(workloads) }
  return comparisonTable(results)
}

/// Which locks CPUs waited for: one row for each strategy and lock, the longest waits first; `nil` where none are listed.
func lockWaitTable(_ results: [JSON]) -> TextTable? {
  var rows: [[String]] = []
  for result in results {
    let locks = (result["lockWaits"]?.members ?? [:]).map { name, waits in
      (name: name, count: waits["waits"]?.integer ?? 0, time: waits["nanoseconds"]?.integer ?? 0)
    }
    let total = max(1, locks.reduce(0) { $0 + $1.time })
    for lock in locks.sorted(by: { ($0.time, $1.name) > ($1.time, $0.name) }) {
      rows.append([
        result["strategy"]?.string ?? "?", inWords(lock.name), grouped(lock.count), grouped(lock.time / 1000),
        percent(Double(lock.time) / Double(total)),
      ])
    }
  }
  if rows.isEmpty { return nil }
  return TextTable(
    heading: ["strategy", "lock", "waits", "microseconds", "of all waiting"], rows: rows,
    numericColumns: Set(2...4))
}

/// One row for each workload of `vmalloc-suite`, in instructions.
private func workloadTable(_ workloads: [String: JSON]) -> TextTable {
  let keys = [
    "standingAreas", "allocation", "free", "worstFree", "instructionsPerOperation", "locksPerOperation",
    "tlbInvalidations",
  ]
  return TextTable(
    heading: [
      "workload", "areas besides", "vmalloc", "vfree", "worst vfree", "per operation", "locks", "invalidations",
    ],
    rows: workloads.keys.sorted().map { name in
      [inWords(name)] + keys.map { workloads[name]?[$0].map { text($0) } ?? "-" }
    }, numericColumns: Set(1...7))
}

/// One row for each strategy, with the values of all its seeds together.
private func seedTable(_ results: [JSON]) -> TextTable {
  var strategies: [String] = []
  for strategy in results.compactMap({ $0["strategy"]?.string }) where !strategies.contains(strategy) {
    strategies.append(strategy)
  }
  let keys = ["threads", "threadsIntact", "leakedFrames"].filter { key in
    results.contains { $0[key]?.integer != nil }
  }
  return TextTable(
    heading: ["strategy", "seeds"] + keys.map(inWords),
    rows: strategies.map { strategy in
      let own = results.filter { $0["strategy"]?.string == strategy }
      let sums = keys.map { key in grouped(own.compactMap { $0[key]?.integer }.reduce(0, +)) }
      return [strategy, grouped(own.count)] + sums
    }, numericColumns: Set(1...keys.count + 1))
}

/// One row for each strategy, and for each seed where there are several, in words and units.
private func forkTable(_ results: [JSON]) -> TextTable {
  func bytes(_ value: JSON?) -> String { value?.integer.map { readable(byteCount: $0) } ?? "?" }
  func number(_ value: JSON?) -> String {
    if let integer = value?.integer { return grouped(integer) }
    return value?.number.map { "\($0)" } ?? "?"
  }
  let hasSeeds = Set(results.map { $0["seed"]?.integer }).count > 1
  return TextTable(
    heading: ["strategy"] + (hasSeeds ? ["seed"] : []) + [
      "free before", "largest block", "forks", "free at failure", "stack memory", "frames per fork",
      "leaked frames",
    ],
    rows: results.map { result in
      [result["strategy"]?.string ?? "?"] + (hasSeeds ? ["\(result["seed"]?.integer ?? 0)"] : []) + [
        bytes(result["freeBytesBefore"]),
        bytes(result["largestFreeBlockBytes"]),
        number(result["forksSucceeded"]), bytes(result["freeBytesAtFailure"]), bytes(result["stackBytes"]),
        result["forksSucceeded"]?.integer == 0 ? "-" : number(result["framesPerFork"]),
        number(result["leakedFrames"]),
      ]
    }, numericColumns: Set(1...(hasSeeds ? 8 : 7)))
}

/// One row for each measured key that is a plain value, one column for each strategy.
private func comparisonTable(_ results: [JSON]) -> TextTable {
  let hidden: Set<String> = [
    "type", "scenario", "machine", "strategy", "seed", "memoryBytes", "addressBits", "stackSizeBytes",
    "firstFailure",
  ]
  let keys = Set(results.flatMap { $0.members?.filter { $0.value.isPlain }.keys.map { $0 } ?? [] })
  return TextTable(
    heading: [""] + results.map { $0["strategy"]?.string ?? "?" },
    rows: keys.subtracting(hidden).sorted().map { key in
      [inWords(key)] + results.map { $0[key].map { text($0, key: key) } ?? "-" }
    },
    numericColumns: Set(1..<results.count + 1))
}

/// `forksAttempted` as `forks attempted`; the unit of a size stands in its cell.
private func inWords(_ key: String) -> String {
  let name = key.hasSuffix("Bytes") ? String(key.dropLast(5)) : key
  return name.map { $0.isUppercase ? " \($0.lowercased())" : "\($0)" }.joined()
}

/// Costs of operations: one row for each operation, strategy and number of live stacks, with its floor and its limit if it
/// has them.
///
/// The row about memory measures bytes. A machine that cannot count instructions leaves dashes.
func benchmarkTable(_ benchmarks: [JSON]) -> TextTable {
  let counts = benchmarks.contains { $0["instructions"]?.integer ?? 0 > 0 }
  let columns = benchmarks.contains { $0["memory"] != nil } ? MemoryColumn.all : []
  // Only a host's own CPUs have cycles.
  let hasCycles = benchmarks.contains { $0["cycles"]?.integer != nil }
  return TextTable(
    heading: ["operation", "strategy", "live", "instructions", "floor", "limit", "TLB invalidations"]
      + (hasCycles ? ["cycles"] : []) + columns.map(\.heading),
    rows: benchmarks.map { row in
      let memory = row["bytesPerStack"]?.integer
      let share = row["shareOfStack"]?.number ?? 0
      let size =
        memory.map { "\(readable(byteCount: $0)), \(percent(share))" }
        ?? (row["bytesPerThread"] ?? row["bytesForEachCPU"])?.integer.map { "\(grouped($0)) bytes" }
      let cells: [String] = [
        (row["name"]?.string ?? "?") + besideOneCPU(row), row["strategy"]?.string ?? "?", text(row["live"]),
        size ?? (counts ? text(row["instructions"]) : "-"),
        row["floor"].map { text($0) } ?? "",
        row["shareLimit"]?.number.map(percent) ?? row["limit"].map { text($0) } ?? "",
        text(row["tlbInvalidations"]),
      ]
      let cycles = hasCycles ? [row["cycles"].map { text($0) } ?? ""] : []
      return cells + cycles + columns.map { $0.cell(row) }
    }, numericColumns: Set(2...6 + (hasCycles ? 1 : 0) + columns.count))
}

/// The additional text of a row of several CPUs: `: 1.002 × one CPU's, 0.000 locks`.
private func besideOneCPU(_ row: JSON) -> String {
  if let one = row["instructionsOnOneCPU"], let each = row["instructionsForEachOtherCPU"] {
    return ": \(text(one)) on one CPU, \(text(each)) more for each other"
  }
  guard let ratio = row["ratio"], let locks = row["locksPerOperation"] else { return "" }
  return ": \(text(ratio)) × one CPU's, \(text(locks)) locks"
}

/// `0.4 %`, from a share of 1.
private func percent(_ share: Double) -> String {
  let permille = Int((share * 1000).rounded())
  return permille % 10 == 0 ? "\(permille / 10) %" : "\(permille / 10).\(permille % 10) %"
}

extension JSON {
  /// Whether a cell of a table can show this value, and it is not empty.
  fileprivate var isPlain: Bool {
    switch self {
    case .null, .array, .object: false
    case .bool, .integer, .number, .string: true
    }
  }
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
