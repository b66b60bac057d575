// A report's free memory as free memory of another machine.

/// Why a report cannot be replayed.
package enum ReplayProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// There is no failure with that number.
  case noSuchFailure(number: Int, count: Int)
  /// No list of the zone adds up; those that do are named.
  case noWholeList(zone: String?, whole: [String])
  /// Nothing of the zone is free.
  case nothingFree(zone: String)

  package var description: String {
    switch self {
    case .noSuchFailure(let number, let count):
      count == 0
        ? "there is no failure in it, and no whole reading of free blocks"
        : "there is no failure \(number): it has \(count)"
    case .noWholeList(let zone, let whole):
      "it has no whole free list\(zone.map { " of zone \($0)" } ?? "")"
        + (whole.isEmpty ? "" : "; whole ones: \(whole.joined(separator: ", ")) (--zone)")
    case .nothingFree(let zone): "zone \(zone) has no free memory in the report"
    }
  }
}

/// What a machine is to be like for a report's free memory to be its own.
package struct ReplayPlan: Equatable, Sendable {
  /// The number of orders of the machine's page allocator: 0 to 10, of 4 KiB to 4 MiB.
  package static let orderCount = 11
  private static let frameBytes: UInt64 = 4096
  private static let greatestCount: UInt64 = 1 << 32

  /// The failure's line in the file.
  package var line: Int
  package var zone: String
  package var node: Int?
  /// The thread that asked, if known.
  package var process: String?
  /// Free blocks of each order, in frames of 4 KiB.
  package var freeBlocks: [UInt64]
  /// Those that a kernel's request may take, at most.
  package var usableBlocks: [UInt64]
  /// By what all counts were divided, so that the memory fits.
  package var factor: UInt64 = 1
  /// The memory that the machine needs, in bytes.
  package var memoryBytes: UInt64
  /// The size of a stack, if the report tells it.
  package var stackBytes: UInt64?
  /// Whether the report's pages are not of 4 KiB, so that its blocks are compared by size.
  package var hasOtherPages: Bool
  /// Whether the report has blocks above 4 MiB, which are divided into such.
  package var hasLargerBlocks: Bool

  /// Plans the replay of a file's failure.
  ///
  /// - Parameters:
  ///   - report: what the file tells.
  ///   - number: which failure, from 1.
  ///   - zone: which zone; the one that decided, unless it is named.
  ///   - greatestMemory: what the machine may have, in bytes.
  ///   - ownMemory: what the machine's kernel needs for itself, in bytes.
  package init(
    _ report: FileReport, failure number: Int, zone: String?, greatestMemory: UInt64,
    ownMemory: UInt64 = 64 << 20
  ) throws(ReplayProblem) {
    let state: MemoryState
    var failure: Failure?
    if report.failures.isEmpty, number == 1, let last = report.snapshots.last, !MemoryState(last).zones.isEmpty
    {
      state = MemoryState(last)
    } else {
      guard report.failures.indices.contains(number - 1) else {
        throw .noSuchFailure(number: number, count: report.failures.count)
      }
      failure = report.failures[number - 1]
      state = failure?.report.map { MemoryState(report.reports[$0]) } ?? MemoryState()
    }
    let wanted = zone ?? failure?.zone
    let list =
      state.zones.first { $0.zone == wanted && (failure?.node == nil || $0.node == failure?.node) }
      ?? state.zones.first { $0.zone == wanted }
      ?? (wanted == nil ? state.zones.max { $0.free < $1.free } : nil)
    guard let list else { throw .noWholeList(zone: wanted, whole: state.zones.map(\.zone)) }
    guard list.free > 0 else { throw .nothingFree(zone: list.zone) }
    self.init(list, greatestMemory: greatestMemory, ownMemory: ownMemory)
    line = failure?.line ?? list.line
    node = list.node
    process = failure?.process
    stackBytes = failure?.stackBytes
  }

  private init(_ list: ZoneState, greatestMemory: UInt64, ownMemory: UInt64) {
    line = list.line
    zone = list.zone
    hasOtherPages = list.pageBytes != Self.frameBytes
    let shift = Int((list.pageBytes / Self.frameBytes).trailingZeroBitCount)
    hasLargerBlocks = list.counts.indices.contains { $0 + shift >= Self.orderCount && list.counts[$0] > 0 }
    let free = Self.converted(list.counts, shift: shift)
    let usable = Self.converted(list.usable, shift: shift)
    freeBlocks = free
    usableBlocks = usable
    memoryBytes = Self.memory(for: free) + ownMemory
    while memoryBytes > greatestMemory, factor < 1 << 40 {
      // By what it is too large, and on in small steps: what was there stays there, so it shrinks by less.
      factor = factor == 1 ? max(2, memoryBytes / greatestMemory) : factor + max(1, factor / 64)
      freeBlocks = free.map { Self.divided($0, by: factor) }
      usableBlocks = zip(usable, freeBlocks).map { min($1, Self.divided($0, by: factor)) }
      memoryBytes = Self.memory(for: freeBlocks) + ownMemory
    }
  }

  /// A count divided; what was there stays there.
  private static func divided(_ count: UInt64, by factor: UInt64) -> UInt64 {
    count == 0 ? 0 : max(1, (count + factor / 2) / factor)
  }

  /// Counts by orders of 4 KiB frames; blocks above the largest order become several of it.
  private static func converted(_ counts: [UInt64], shift: Int) -> [UInt64] {
    var result = [UInt64](repeating: 0, count: orderCount)
    for (order, count) in counts.enumerated() {
      let place = min(order + shift, orderCount - 1)
      // More than any machine has; what is more is no machine's.
      result[place] = min(
        greatestCount, result[place] &+ min(greatestCount, count) << UInt64(order + shift - place))
    }
    return result
  }

  /// The memory for these blocks: each lies in an area of two, whose other half has room for smaller ones but for a frame.
  private static func memory(for blocks: [UInt64]) -> UInt64 {
    var frames = blocks[orderCount - 1] << UInt64(orderCount - 1)
    // Halves that are left over, by order.
    var spare = [UInt64](repeating: 0, count: orderCount)
    for order in stride(from: orderCount - 2, through: 0, by: -1) {
      var missing = blocks[order]
      // A half of the next order, or of any above it, holds areas of two of this one.
      for larger in stride(from: order + 1, to: orderCount, by: 1) where missing > 0 && spare[larger] > 0 {
        let areas = min(missing, spare[larger] << UInt64(larger - order - 1))
        let used = (areas + 1 << UInt64(larger - order - 1) - 1) >> UInt64(larger - order - 1)
        spare[larger] -= min(spare[larger], used)
        missing -= areas
        spare[order] += areas
      }
      frames += missing << UInt64(order + 1)
      spare[order] += missing
    }
    // With the records of frames, and areas that the machine's own frames make unusable.
    let bytes = frames * frameBytes * 17 / 16
    return (bytes + 4 << 20 - 1) / (4 << 20) * (4 << 20)
  }

  /// The options of the scenario, as words of its command line.
  package var words: [String] {
    func list(_ counts: [UInt64]) -> String { counts.map { "\($0)" }.joined(separator: ",") }
    var words = ["free-blocks=\(list(freeBlocks))"]
    if usableBlocks != freeBlocks { words.append("usable-blocks=\(list(usableBlocks))") }
    return words
  }

  /// What is replayed, in words: `49,348 kB free in zone Normal`.
  package var summary: String {
    let bytes = freeBlocks.indices.reduce(UInt64(0)) { $0 &+ freeBlocks[$1] << UInt64($1) } * Self.frameBytes
    var notes: [String] = []
    if factor > 1 { notes.append("all counts divided by \(factor), so that the memory fits") }
    if hasOtherPages { notes.append("blocks of the same sizes, made of 4 KiB pages") }
    if hasLargerBlocks { notes.append("blocks above 4 MiB divided into such") }
    return "\(Size.kilobytes(bytes)) free in zone \(zone)"
      + (notes.isEmpty ? "" : " (\(notes.joined(separator: "; ")))")
  }
}
