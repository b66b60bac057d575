// The rows of a benchmark, and the limits that some of them have.

import KernelStacks

/// What operations on a stack of 16 KiB may cost at most, in instructions.
struct StackCostLimits {
  /// Clearing a stack.
  var clearing = 600
  /// Allocating a new stack, clearing not counted.
  var new = 800
  /// Allocating a new stack of frames that read as zero already.
  var fromZeroed = 450
  /// The same of one frame, where stacks grow.
  var fromZeroedFrame = 200
  /// Allocating a cached stack, clearing not counted, or freeing one into the cache.
  var cached = 60
  /// Any one free.
  var worstFree = 5000
  /// The check at switch-in while the reserve is full, where stacks grow.
  var switchIn = 10
}

/// Writes one row of a benchmark whose measurement only one machine can make.
///
/// - Parameter modelled: the number of the operations in the memory model, which writes its line before the row.
public func writeBenchmarkRow<Console: TextSink>(
  _ name: StaticString, strategy: StackStrategy, instructions: Int, tlbInvalidations: Int, live: Int,
  limit: Int? = nil, modelled: Int = 0, to console: Console
) {
  var rows = BenchmarkRows(console, strategy: strategy)
  var cost = Cost()
  cost.instructions = instructions
  cost.tlbInvalidations = tlbInvalidations
  cost.count = 1
  cost.modelled = modelled
  rows.row(name, cost, live: live, limit: limit)
}

/// Writes the rows of a benchmark.
///
/// Names are keys by which runs are compared: they stay as they are.
struct BenchmarkRows<Console: TextSink> {
  private var json: JSONWriter<Console>
  private let strategy: StackStrategy

  init(_ console: Console, strategy: StackStrategy) {
    json = JSONWriter(console)
    self.strategy = strategy
  }

  /// Starts a row; the fields follow, then ``end()``.
  mutating func begin(_ name: StaticString) {
    json.begin("benchmark")
    json.field("name", name)
    json.field("strategy", strategy.name)
  }

  mutating func field(_ key: StaticString, _ value: Int) { json.field(key, value) }

  mutating func field(_ key: StaticString, permille: Int) { json.field(key, permille: permille) }

  mutating func nullField(_ key: StaticString) { json.nullField(key) }

  mutating func end() { json.end() }

  private mutating func write(
    _ name: StaticString, _ instructions: Int, _ cost: Cost, _ live: Int, _ limit: Int?,
    cycles: Int?, _ spread: CostSpread? = nil
  ) {
    begin(name)
    json.field("instructions", instructions)
    if let cycles { json.field("cycles", cycles) } else { json.nullField("cycles") }
    json.field("tlbInvalidations", cost.tlbInvalidations)
    json.field("live", live)
    if let limit { json.field("limit", limit) }
    if let spread {
      json.beginNumbers("spread")
      for power in 0..<spread.count { json.number(spread[power]) }
      json.endNumbers()
    }
    json.end()
  }

  /// A mean cost; the invalidations are those of all samples together.
  mutating func row(_ name: StaticString, _ cost: Cost, live: Int, limit: Int? = nil) {
    writeModelled(cost.modelled)
    write(name, cost.mean, cost, live, limit, cycles: cost.meanCycles)
  }

  /// A mean cost, and how often each cost was seen.
  mutating func row(
    _ name: StaticString, _ cost: Cost, live: Int, limit: Int? = nil, spread: CostSpread
  ) {
    writeModelled(cost.modelled)
    write(name, cost.mean, cost, live, limit, cycles: cost.meanCycles, spread)
  }

  /// The largest cost of a sample, in instructions only.
  mutating func worstRow(_ name: StaticString, _ cost: Cost, live: Int, limit: Int? = nil) {
    write(name, cost.worst, cost, live, limit, cycles: nil)
  }

  /// Memory that a thread's stack costs, page tables and metadata included.
  mutating func threadMemoryRow(_ name: StaticString, _ bytes: Int, live: Int) {
    begin(name)
    json.nullField("instructions")
    json.nullField("tlbInvalidations")
    json.field("live", live)
    json.field("bytesPerThread", bytes)
    json.end()
  }

  /// Memory that a stack costs besides itself, of which at most 2 % of the stack are allowed if there is a limit.
  mutating func memoryRow(_ bytes: Int, of stackBytes: Int, isLimited: Bool, live: Int) {
    begin("page tables and metadata per stack")
    json.nullField("instructions")
    json.nullField("tlbInvalidations")
    json.field("live", live)
    json.field("bytesPerStack", bytes)
    json.field("shareOfStack", permille: (bytes * 1000 + stackBytes / 2) / stackBytes)
    if isLimited { json.field("shareLimit", permille: 20) }
    json.end()
  }
}
