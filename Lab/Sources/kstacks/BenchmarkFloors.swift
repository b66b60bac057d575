// The floors of rows: the fewest instructions that each operation can take in any language, derived in docs/benchmarks.md.

import ImageTools

/// A floor for one strategy, or for all.
private struct BenchmarkFloor {
  var operation: String
  var strategy: String?
  var instructions: Int

  init(_ operation: String, _ strategy: String?, _ instructions: Int) {
    self.operation = operation
    self.strategy = strategy
    self.instructions = instructions
  }

  func applies(to operation: String, _ strategy: String?) -> Bool {
    self.operation == operation && (self.strategy == nil || self.strategy == strategy)
  }
}

private let floors: [BenchmarkFloor] = [
  BenchmarkFloor("clear stack", "linear", 512),
  BenchmarkFloor("clear stack", "vmalloc", 512),
  BenchmarkFloor("clear stack", "growing", 128),
  BenchmarkFloor("clear stack by pages", "linear", 512),
  BenchmarkFloor("clear stack by pages", "vmalloc", 512),
  BenchmarkFloor("clear stack by pages", "growing", 128),
  BenchmarkFloor("allocate frame", nil, 19),
  BenchmarkFloor("free frame", nil, 22),
  BenchmarkFloor("allocate cached stack", "linear", 13),
  BenchmarkFloor("allocate cached stack", "vmalloc", 18),
  BenchmarkFloor("allocate cached stack", "growing", 18),
  BenchmarkFloor("free stack into cache", "linear", 13),
  BenchmarkFloor("free stack into cache", "vmalloc", 18),
  BenchmarkFloor("free stack into cache", "growing", 21),
  BenchmarkFloor("allocate new stack from zeroed frames", "vmalloc", 65),
  BenchmarkFloor("allocate new stack from zeroed frames", "growing", 44),
  BenchmarkFloor("allocate new stack", "linear", 28),
  BenchmarkFloor("allocate new stack", "vmalloc", 65),
  BenchmarkFloor("allocate new stack", "growing", 44),
  BenchmarkFloor("free stack, cache full", "vmalloc", 108),
  BenchmarkFloor("free stack, cache full", "growing", 55),
]

/// The suffixes of operation names in the rows of the comparison.
private let comparisonSuffixes = [", as in C", ", in C"]

/// The floor of a row of `bench`, or `nil` if none is known.
func benchmarkFloor(_ row: JSON) -> Int? {
  guard var name = row["name"]?.string else { return nil }
  for suffix in comparisonSuffixes where name.hasSuffix(suffix) { name.removeLast(suffix.count) }
  let strategy = row["strategy"]?.string
  return floors.first { $0.applies(to: name, strategy) }?.instructions
}

/// Rows of `bench`, each with its floor if that is known.
func withFloors(_ rows: [JSON]) -> [JSON] {
  rows.map { row in benchmarkFloor(row).map { row.adding("floor", .integer($0)) } ?? row }
}
