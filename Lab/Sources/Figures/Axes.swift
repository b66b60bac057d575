// Axes, grid lines and legends.

extension Drawing {
  /// An axis along the bottom, with lines up to `top`.
  mutating func bottomAxis(
    _ scale: Scale, at y: Double, gridTo top: Double, label: String, ticks: [Double]? = nil,
    format: (Double) -> String = { grouped(rounding: $0) }
  ) {
    for value in ticks ?? scale.ticks() {
      let x = scale(value)
      line(x, y, x, top, stroke: .grid)
      text(format(value), x, y + 18, size: 13, fill: .muted, anchor: .middle)
    }
    line(scale.start, y, scale.end, y, stroke: .axis)
    text(label, (scale.start + scale.end) / 2, y + 40, size: 13.5, fill: .muted, anchor: .middle)
  }

  /// An axis along the left side, with lines to `right`; its label stands above it.
  mutating func leftAxis(
    _ scale: Scale, at x: Double, gridTo right: Double, label: String, ticks: [Double]? = nil,
    format: (Double) -> String = { grouped(rounding: $0) }
  ) {
    for value in ticks ?? scale.ticks() {
      let y = scale(value)
      line(x, y, right, y, stroke: .grid)
      text(format(value), x - 8, y + 4, size: 13, fill: .muted, anchor: .end)
    }
    text(label, x, min(scale.start, scale.end) - 12, size: 13.5, fill: .muted)
  }

  /// A legend: squares with their names, in one row.
  mutating func legend(_ entries: [(Role, String)], _ x: Double, _ y: Double, size: Double = 14) {
    var x = x
    for (role, name) in entries {
      rectangle(x, y - size + 2, size - 1, size - 1, fill: role, radius: 2)
      text(name, x + size + 5, y, size: size, fill: .muted)
      x += size + 5 + Double(name.count) * size * 0.57 + 18
    }
  }
}

/// Places for labels that would overlap: each at its own place or above, so that all are at least a given distance apart.
///
/// The lowest stays at its place. The order of the labels is kept.
func apart(_ places: [Double], by distance: Double) -> [Double] {
  var result = places
  var limit = Double.infinity
  for index in places.indices.sorted(by: { (places[$0], $0) > (places[$1], $1) }) {
    result[index] = Swift.min(places[index], limit)
    limit = result[index] - distance
  }
  return result
}
