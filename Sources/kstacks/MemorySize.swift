// Sizes as people write them on a command line.

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
