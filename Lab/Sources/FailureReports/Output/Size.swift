// Sizes and counts as people read them.

/// Spells sizes and counts.
package enum Size {
  /// `16 KiB`, `1,028 KiB`, `104.7 MiB`: with a binary unit, so that three digits at least are exact.
  package static func text(_ bytes: UInt64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var unit = 0
    while unit + 1 < units.count {
      let next = UInt64(1) << UInt64(10 * (unit + 1))
      // A larger unit must be exact, or leave two digits in front of the point.
      guard bytes >= next, bytes % next == 0 || bytes >= 10 * next else { break }
      unit += 1
    }
    let divisor = UInt64(1) << UInt64(10 * unit)
    let whole = bytes / divisor
    let tenth = unit == 0 ? 0 : (bytes % divisor) >> UInt64(10 * unit - 10) * 10 / 1024
    let fraction = tenth > 0 && whole < 100 ? ".\(tenth)" : ""
    return "\(grouped(whole))\(fraction) \(units[unit])"
  }

  /// `57,976 kB`: as kernels print it.
  package static func kilobytes(_ bytes: UInt64) -> String { "\(grouped(bytes >> 10)) kB" }

  /// `1,779`.
  package static func grouped(_ number: UInt64) -> String {
    var text = ""
    for (index, digit) in String(number).reversed().enumerated() {
      if index > 0 && index % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return String(text.reversed())
  }

  /// `1 page`, `1,779 pages`.
  package static func counted(_ number: UInt64, _ noun: String) -> String {
    "\(grouped(number)) \(noun)\(number == 1 ? "" : "s")"
  }
}
