// The figure of memory per thread, by use.

import ImageTools

/// The memory of one thread of a scenario, in bytes.
struct ThreadMemory {
  let name: String
  let parts: [(role: Role, name: String, bytes: Double)]

  var total: Double { parts.reduce(0) { $0 + $1.bytes } }

  /// The memory of a forked process: by use, the frames added between the first fork and the first failure.
  init?(forked result: JSON) {
    guard let forks = result["forksSucceeded"]?.integer, forks > 0,
      let before = MemoryMaps.map(result, "before"),
      let then = MemoryMaps.map(result, "atFailure")
    else { return nil }
    name = "forked process, \(result.strategyName) stack"
    parts = [FrameUse.stack, .pageTable, .taskRecord, .metadata, .userMemory].compactMap { use in
      let frames = then.count(of: use) - before.count(of: use)
      return frames <= 0 ? nil : (use.role, use.partName, Double(frames) * 4096 / Double(forks))
    }
  }

  /// The memory of one of very many kernel threads.
  init?(thread result: JSON) {
    guard result["scenario"]?.string == "million-threads", let threads = result["threads"]?.number, threads > 0,
      let all = result["bytesPerThread"]?.number, let stack = result["stackBytes"]?.number,
      let stackAndTables = result["stackBytesPerThread"]?.number
    else { return nil }
    name = "one of \(grouped(rounding: threads)) threads, \(result.strategyName) stack"
    let pages = stack / threads
    parts = [
      (.stack, "stack", pages), (.pageTable, "page tables", max(0, stackAndTables - pages)),
      (.taskRecord, "records", max(0, all - stackAndTables)),
    ]
  }
}

extension FrameUse {
  fileprivate var partName: String {
    switch self {
    case .stack: "stack"
    case .taskRecord: "records"
    case .userMemory: "its own memory"
    default: name
    }
  }
}

/// Memory per thread.
public func threadMemoryFigure(_ results: ResultSet) -> Drawing? {
  let rows =
    results.forks.compactMap { ThreadMemory(forked: $0) }
    + results.others.compactMap { ThreadMemory(thread: $0) }
  guard !rows.isEmpty else { return nil }
  let words = rows.map { row in
    row.name + ": "
      + row.parts.map { "\($0.name) \(readable(byteCount: Int($0.bytes.clamped)))" }.joined(separator: ", ")
  }
  var drawing = Drawing(
    "Memory per thread, by what it is spent on", words.joined(separator: ". ") + ".", width: 560,
    height: Double(rows.count) * 66 + 92)
  let scale = Scale(0, (rows.map(\.total).max() ?? 1) / 1024 * 1.18, from: 14, to: 546)
  let bottom = Double(rows.count) * 66 + 44
  drawing.bottomAxis(scale, at: bottom, gridTo: 36, label: "KiB per thread")
  var known: [(Role, String)] = []
  for (index, row) in rows.enumerated() {
    let y = 42 + Double(index) * 66
    drawing.text(row.name.asSentence, 14, y + 14, size: 14, bold: true)
    var sum = 0.0
    for part in row.parts {
      let (from, to) = (scale(sum / 1024), scale((sum + part.bytes) / 1024))
      drawing.rectangle(from, y + 22, max(0, to - from), 28, fill: part.role)
      sum += part.bytes
      if !known.contains(where: { $0.0 == part.role }) { known.append((part.role, part.name)) }
    }
    drawing.text(readable(byteCount: Int(sum.clamped)), scale(sum / 1024) + 8, y + 41, size: 14, bold: true)
  }
  drawing.legend(known, 14, 20)
  return drawing
}
