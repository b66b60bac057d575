// Sizes as people write them on a command line, and as they read them in a table.

/// A size in bytes, written with a binary suffix: `128M`, `1G`, `16384`, `16 KiB`.
struct MemorySize: Equatable, Sendable {
  var byteCount: Int

  init(byteCount: Int) { self.byteCount = byteCount }

  /// Reads a size; `nil` when the text is none, or does not fit.
  init?(_ text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let value = Int(digits) else { return nil }
    let unit: Int
    switch text.dropFirst(digits.count).drop(while: { $0 == " " }).lowercased() {
    case "": unit = 1
    case "k", "kb", "kib": unit = 1 << 10
    case "m", "mb", "mib": unit = 1 << 20
    case "g", "gb", "gib": unit = 1 << 30
    default: return nil
    }
    let (product, overflow) = value.multipliedReportingOverflow(by: unit)
    if overflow { return nil }
    byteCount = product
  }
}

/// A size in the largest binary unit that leaves at least 1: `57 MiB`, `1.5 MiB`, `8 KiB`.
func readable(byteCount: Int) -> String {
  let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
  for (size, name) in units where byteCount >= size {
    let tenths = byteCount / (size / 10)
    return tenths >= 100 || tenths % 10 == 0 || byteCount % size == 0
      ? "\(byteCount / size) \(name)" : "\(tenths / 10).\(tenths % 10) \(name)"
  }
  return byteCount == 1 ? "1 byte" : "\(byteCount) bytes"
}

/// A number with commas between groups of three digits.
func grouped(_ number: Int) -> String {
  let digits = String(number.magnitude)
  var result = ""
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index) % 3 == 0 { result += "," }
    result.append(digit)
  }
  return number < 0 ? "-" + result : result
}

/// A count with its noun: `1 fork`, `1,412 forks`.
func counted(_ number: Int, _ noun: String) -> String { "\(grouped(number)) \(noun)\(number == 1 ? "" : "s")" }
