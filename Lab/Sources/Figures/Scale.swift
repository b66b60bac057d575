// Scales of axes: from a value to a place.

import Foundation

/// Maps values to places, evenly or by their logarithms.
public struct Scale: Sendable {
  /// The lowest value.
  public let lowest: Double
  /// The highest value.
  public let highest: Double
  /// The place of the lowest value.
  public let start: Double
  /// The place of the highest value.
  public let end: Double
  /// Whether equal ratios have equal distances.
  public let isLogarithmic: Bool

  /// Makes a scale; an empty range is extended, and a logarithmic one begins above 0.
  public init(
    _ lowest: Double, _ highest: Double, from start: Double, to end: Double, logarithmic: Bool = false
  ) {
    let low = logarithmic ? max(lowest.isFinite ? lowest : 1, 1e-9) : (lowest.isFinite ? lowest : 0)
    self.lowest = low
    self.highest = highest.isFinite && highest > low ? highest : (logarithmic ? low * 10 : low + 1)
    (self.start, self.end, isLogarithmic) = (start, end, logarithmic)
  }

  /// The place of a value; values out of range are at the nearer end.
  public func callAsFunction(_ value: Double) -> Double {
    let value = min(max(value.isNaN ? lowest : value, lowest), highest)
    let share =
      isLogarithmic
      ? (log10(value) - log10(lowest)) / (log10(highest) - log10(lowest))
      : (value - lowest) / (highest - lowest)
    return start + share * (end - start)
  }

  /// Round values, about `count` of them: 1, 2 or 5 times a power of ten apart, or the powers of ten themselves.
  public func ticks(_ count: Int = 5) -> [Double] {
    if isLogarithmic {
      let first = Int(log10(lowest).rounded(.up)), last = Int((log10(highest) + 1e-9).rounded(.down))
      return first > last ? [lowest, highest] : (first...last).map { pow(10, Double($0)) }
    }
    let rough = (highest - lowest) / Double(max(1, count))
    let power = pow(10, log10(rough).rounded(.down))
    let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough * 0.999 } ?? rough
    let first = (lowest / step - 1e-9).rounded(.up)
    return (0...count + 2).map { (first + Double($0)) * step }.filter { $0 <= highest + step * 1e-9 }
  }
}
