// Sizes and counts as text.

/// A size in the largest binary unit that leaves at least 1: `57 MiB`, `1.5 MiB`, `8 KiB`.
public func readable(byteCount: Int) -> String {
  let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
  for (size, name) in units where byteCount >= size {
    let tenths = byteCount / (size / 10)
    return tenths >= 100 || tenths % 10 == 0 || byteCount % size == 0
      ? "\(byteCount / size) \(name)" : "\(tenths / 10).\(tenths % 10) \(name)"
  }
  return byteCount == 1 ? "1 byte" : "\(byteCount) bytes"
}

/// A number with commas between groups of three digits.
public func grouped(_ number: Int) -> String {
  let digits = String(number.magnitude)
  var result = ""
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index) % 3 == 0 { result += "," }
    result.append(digit)
  }
  return number < 0 ? "-" + result : result
}

/// A count with its noun: `1 fork`, `1,412 forks`.
public func counted(_ number: Int, _ noun: String) -> String {
  "\(grouped(number)) \(noun)\(number == 1 ? "" : "s")"
}

/// The items as a list in a sentence: `linear, vmalloc and growing`.
public func listed(_ items: [String]) -> String {
  guard let last = items.last, items.count > 1 else { return items.first ?? "" }
  return items.dropLast().joined(separator: ", ") + " and " + last
}

/// A measured value as a whole number with commas, limited to the range of an integer.
func grouped(rounding value: Double) -> String { grouped(Int(value.clamped.rounded())) }

extension Double {
  /// The value, limited to the range of an integer.
  var clamped: Double { isFinite ? Swift.min(Swift.max(self, -1e15), 1e15) : 0 }
}
