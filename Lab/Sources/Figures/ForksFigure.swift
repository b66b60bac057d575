// Live forks against free memory, until a fork fails, for each strategy.

import ImageTools

/// The points of one strategy.
struct ForkSeries {
  let strategy: String
  /// Live forks and free bytes, from none to the first failure.
  let points: [(forks: Double, bytes: Double)]

  /// - Returns: `nil` if the result lacks the free memory before the first fork or at the failure.
  init?(_ result: JSON) {
    guard let strategy = result["strategy"]?.string, let before = result["freeBytesBefore"]?.number,
      let end = result["freeBytesAtFailure"]?.number, let forks = result["forksSucceeded"]?.number
    else { return nil }
    self.strategy = strategy
    let between = (result["series"]?.array ?? []).compactMap { point -> (forks: Double, bytes: Double)? in
      let parts = (point.string ?? "").split(separator: ":").compactMap { Double($0) }
      return parts.count == 2 && parts[0] > 0 && parts[0] < forks ? (parts[0], parts[1]) : nil
    }
    points = forks > 0 ? [(0, before)] + between + [(forks, end)] : [(0, end)]
  }
}

/// Live forks against free memory.
public func forksFigure(_ results: [JSON]) -> Drawing? {
  let series = results.compactMap { ForkSeries($0) }
  guard !series.isEmpty else { return nil }
  let ends = series.map {
    "\(strategyInWords($0.strategy)) stacks \(grouped(Int($0.points.last!.forks.clamped)))"
  }
  var drawing = Drawing(
    "Live forks against free memory", "Forks alive when the next one failed: \(ends.joined(separator: ", ")).",
    width: 560, height: 380)
  let mebibyte = Double(1 << 20)
  let most = series.flatMap { $0.points.map(\.forks) }.max() ?? 1
  let highest = series.flatMap { $0.points.map(\.bytes) }.max() ?? 1
  let x = Scale(0, max(1, most * 1.1), from: 44, to: 546)
  let y = Scale(0, max(1, highest / mebibyte * 1.12), from: 326, to: 34)
  drawing.leftAxis(y, at: 44, gridTo: 546, label: "free memory, MiB")
  drawing.bottomAxis(x, at: 326, gridTo: 34, label: "forks alive at once", ticks: x.ticks(4))
  for one in series {
    let role = strategyRole(one.strategy)
    let places = one.points.map { (x($0.forks), y($0.bytes / mebibyte)) }
    drawing.polyline(places, stroke: role, width: 3)
    let (last, place) = (one.points.last!, places.last!)
    drawing.circle(place.0, place.1, radius: 6, fill: role)
    let name = "\(strategyInWords(one.strategy)): \(counted(Int(last.forks.clamped), "fork"))"
    let middle = ((places[0].0 + place.0) / 2, (places[0].1 + place.1) / 2)
    if last.forks == 0 {
      drawing.text("\(name), all of it free", place.0 + 12, place.1 - 10, size: 14, fill: role, bold: true)
    } else if last.forks == most {
      // The space above the line that reaches farthest is free, and so is that below the others.
      drawing.text(name, middle.0 + 14, middle.1 - 6, size: 14, fill: role, bold: true)
    } else {
      let late = (places[0].0 + 0.74 * (place.0 - places[0].0), places[0].1 + 0.74 * (place.1 - places[0].1))
      drawing.text(name, late.0 - 12, late.1 + 20, size: 14, fill: role, anchor: .end, bold: true)
    }
  }
  return drawing
}
