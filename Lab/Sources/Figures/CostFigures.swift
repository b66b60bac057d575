// The figures of costs: stack operations in instructions.

import ImageTools

/// The cost of a new stack with few and with many stacks in use, and its floor.
public func liveCostFigure(_ results: ResultSet) -> Drawing? {
  let name = "allocate new stack"
  let rows = results.costs.filter { $0["name"]?.string == name && $0["live"]?.integer ?? 0 > 0 }
  let points = rows.compactMap { row -> (strategy: String, live: Double, cost: Double, floor: Double?)? in
    guard let strategy = row["strategy"]?.string, let live = row["live"]?.number,
      let cost = row["instructions"]?.number
    else { return nil }
    return (strategy, live, cost, row["floor"]?.number)
  }
  guard let least = points.map(\.live).min(), let most = points.map(\.live).max() else { return nil }
  let words = points.map {
    "\(strategyInWords($0.strategy)), \(grouped(rounding: $0.live)) live: \(grouped(rounding: $0.cost))"
  }
  var drawing = Drawing(
    "Cost of a new stack against the number of live stacks", "Instructions: \(words.joined(separator: "; ")).",
    width: 560, height: 360)
  let x = Scale(least * 0.6, max(most, least * 10) * 1.7, from: 44, to: 420, logarithmic: true)
  let y = Scale(0, (points.map(\.cost).max() ?? 1) * 1.2, from: 300, to: 40)
  drawing.leftAxis(y, at: 44, gridTo: 420, label: "instructions, besides clearing")
  drawing.bottomAxis(
    x, at: 300, gridTo: 40, label: "stacks in use", ticks: Array(Set(points.map(\.live))).sorted())
  var labels: [(text: String, place: Double, role: Role, bold: Bool)] = []
  for strategy in results.costStrategies {
    let own = points.filter { $0.strategy == strategy }.sorted { $0.live < $1.live }
    guard let last = own.last else { continue }
    let role = strategyRole(strategy)
    drawing.polyline(own.map { (x($0.live), y($0.cost)) }, stroke: role, width: 3)
    for point in own { drawing.circle(x(point.live), y(point.cost), radius: 5, fill: role) }
    labels.append(("\(strategyInWords(strategy)) \(grouped(rounding: last.cost))", y(last.cost), role, true))
    if let floor = own.compactMap(\.floor).last {
      drawing.line(44, y(floor), 420, y(floor), stroke: role, width: 1.5, dashed: true)
      labels.append(("floor \(grouped(rounding: floor))", y(floor), role, false))
    }
  }
  for (label, place) in zip(labels, apart(labels.map(\.place), by: 17)) {
    drawing.text(
      label.text, 430, place + 5, size: label.bold ? 14 : 12.5, fill: label.role, bold: label.bold)
  }
  return drawing
}

/// The cost of one free: its distribution if that was counted, else its mean and worst case.
struct FreeCost {
  let name: String
  let role: Role
  let mean: Double
  let worst: Double
  /// The number of frees that took 2ⁿ to 2ⁿ⁺¹ - 1 instructions, for n = 0, 1, …; empty if that was not counted.
  var counts: [Double] = []
}

/// The cost of a free, beside Linux's, on a logarithmic axis.
public func freeCostFigure(_ results: ResultSet) -> Drawing? {
  var rows: [FreeCost] = results.costStrategies.compactMap { strategy in
    guard let row = results.cost("free stack, cache full", strategy, live: 4000),
      let mean = row["instructions"]?.number,
      let worst = results.cost("free stack, cache full, worst", strategy, live: 4000)?["instructions"]?.number
    else { return nil }
    return FreeCost(
      name: "\(strategyInWords(strategy)) stacks", role: strategyRole(strategy), mean: mean, worst: worst,
      counts: (row["spread"]?.array ?? []).map { $0.number ?? 0 })
  }
  let kernels = [
    "contiguous": "Linux 6.1, contiguous", "vmap": "Linux 6.1, its vmalloc",
    "kernelstacks": "Linux 6.1, KernelStacks", "growing": "Linux 6.1, growing",
  ]
  rows += results.linux.compactMap { kernel in
    guard let key = kernel["kernel"]?.string, let mean = kernel["freeInstructions"]?.number,
      let worst = kernel["worstFreeInstructions"]?.number
    else { return nil }
    let isOurs = ["kernelstacks", "growing"].contains(key)
    return FreeCost(
      name: kernels[key] ?? "Linux 6.1, \(key)", role: isOurs ? .growing : .linux, mean: mean, worst: worst)
  }
  rows = rows.filter { $0.mean >= 1 && $0.worst >= $0.mean }
  guard !rows.isEmpty else { return nil }
  let words = rows.map {
    "\($0.name): mean \(grouped(rounding: $0.mean)), worst \(grouped(rounding: $0.worst))"
  }
  let bottom = Double(rows.count) * 46 + 46
  var drawing = Drawing(
    "Cost of freeing a stack", "Instructions. \(words.joined(separator: "; ")).", width: 560,
    height: bottom + 50)
  let scale = Scale(
    10, (rows.map(\.worst).max() ?? 1000) * 20, from: 172, to: 546, logarithmic: true)
  drawing.bottomAxis(
    scale, at: bottom, gridTo: 34, label: "instructions of one free; each line is ten times the last",
    format: { $0 >= 1e6 ? "\(grouped(rounding: $0 / 1e6)) M" : grouped(rounding: $0) })
  drawing.circle(178, 18, radius: 5.5, fill: .muted)
  drawing.text("mean", 190, 22, size: 12, fill: .muted)
  drawing.line(242, 10, 242, 26, stroke: .muted, width: 3)
  drawing.text("worst", 252, 22, size: 12, fill: .muted)
  if rows.contains(where: { !$0.counts.isEmpty }) {
    drawing.add(
      "rect", ["class": "f-\(Role.muted)", "opacity": 0.3, "x": 306, "y": 10, "width": 18, "height": 15])
    drawing.text("how many frees cost about that", 332, 22, size: 12, fill: .muted)
  }
  for (index, row) in rows.enumerated() {
    let y = 60 + Double(index) * 46
    drawing.text(row.name, 160, y + 5, size: 13, anchor: .end)
    let total = row.counts.reduce(0, +)
    for (power, count) in row.counts.enumerated() where count > 0 && total > 0 {
      let low = scale(Double(1 << min(power, 60))), high = scale(Double(1 << min(power + 1, 60)))
      let height = max(1.5, 30 * count / total)
      drawing.add(
        "rect",
        [
          "class": "f-\(row.role)", "opacity": 0.3, "x": low, "y": y - height / 2, "width": max(0, high - low),
          "height": height,
        ])
    }
    drawing.line(scale(row.mean), y, scale(row.worst), y, stroke: row.role, width: 3)
    drawing.circle(scale(row.mean), y, radius: 6, fill: row.role)
    drawing.line(scale(row.worst), y - 9, scale(row.worst), y + 9, stroke: row.role, width: 3.5)
    drawing.text(
      grouped(rounding: row.worst), scale(row.worst) + 8, y + 5, size: 13, fill: row.role, bold: true)
  }
  return drawing
}

/// The instructions that the vector of a growth fault executes before and after the call to the kernel, on the path that maps a
/// page; counted in `vectors.S`.
public enum GrowthVector {
  /// From the vector's branch to the call, both included.
  public static let entry = 22
  /// From the call's return to `eret`.
  public static let exit = 13
}

/// A growth fault as a timeline of instructions.
public func growthFaultFigure(_ results: ResultSet) -> Drawing? {
  guard let row = results.cost("growth fault, store included, worst", "growing"),
    let total = row["instructions"]?.number, total > 60, total < 1e6,
    let grow = results.cost("grow by a page, without exception", "growing")?["instructions"]?.number
  else { return nil }
  let (entry, exit) = (Double(GrowthVector.entry), Double(GrowthVector.exit))
  let checks = total - 1 - entry - exit - grow
  let steps: [(name: String, detail: String, count: Double, role: Role)] = [
    ("store", "hits an unmapped page", 1, .accent),
    ("save registers", "on the CPU's own stack", entry, .saving),
    ("find the thread", "is the address within its stack?", max(0, checks), .hardware),
    ("map a page", "taken from this CPU's reserve", min(grow, total - 1 - entry - exit), .work),
    ("restore", "and store again", exit, .saving),
  ].filter { $0.count > 0 }
  let words = steps.map { "\($0.name), \(grouped(Int($0.count)))" }.joined(separator: "; ")
  var drawing = Drawing(
    "A growth fault, instruction by instruction", "\(grouped(rounding: total)) instructions: \(words).",
    width: 1060,
    height: 190)
  let scale = Scale(0, total, from: 14, to: 1046)
  drawing.bottomAxis(scale, at: 138, gridTo: 76, label: "instructions since the store", ticks: scale.ticks(12))
  var sum = 0.0
  for (index, step) in steps.enumerated() {
    let (from, to) = (scale(sum), scale(sum + step.count))
    drawing.rectangle(from, 82, max(3, to - from - 2), 46, fill: step.role, radius: 2)
    // Every other label stands higher, to make room for those of short steps.
    let top = index % 2 == 0 ? 14.0 : 52.0
    let atEnd = index == steps.count - 1
    let place = atEnd ? to - 2 : from
    drawing.line(from + 0.5, 80, from + 0.5, top - 8, stroke: .axis)
    drawing.text(
      "\(step.name), \(grouped(rounding: step.count))", atEnd ? place : place + 7, top, size: 14,
      anchor: atEnd ? .end : .start, bold: true)
    drawing.text(
      step.detail, atEnd ? place : place + 7, top + 17, size: 12.5, fill: .muted, anchor: atEnd ? .end : .start)
    sum += step.count
  }
  return drawing
}
